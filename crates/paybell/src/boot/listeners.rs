//! Every socket of the process, bound before anything is served, and where they are. Serves nothing: [`super::roles`]
//! and [`super::admin`] do.

use std::collections::HashSet;

use http_server::{Limits, Listener};
use serde_json::json;

use super::Role;
use crate::{config::Config, error::Error, output};

/// Bound, but silent.
pub struct Listeners {
    pub ingress: Option<Listener>,
    pub proxy: Option<Listener>,
    pub console: Option<Listener>,
    pub admin: Listener,
}

/// What is told about them.
pub struct Addresses {
    pub ingress: Option<String>,
    pub proxy: Option<String>,
    pub console: Option<String>,
    pub admin: String,
}

impl Listeners {
    /// Binds what these roles need; the admin listener always.
    pub async fn bind(config: &Config, roles: &HashSet<Role>) -> Result<Self, Error> {
        let limits = Limits::default;
        let ingress = match roles.contains(&Role::Ingress) {
            true => {
                let tls = config.ingress.tls.clone();
                Some(Listener::bind(config.ingress.listen.as_str(), limits(), tls).await?)
            }
            false => None,
        };
        let proxy = match config.proxy.as_ref().filter(|_| roles.contains(&Role::Proxy)) {
            Some(proxy) => Some(Listener::bind(proxy.listen.as_str(), limits(), proxy.tls.clone()).await?),
            None => None,
        };
        let console = match roles.contains(&Role::Console) {
            true => Some(Listener::bind(config.console.listen.as_str(), limits(), None).await?),
            false => None,
        };
        let admin = Listener::bind(config.admin_listen.as_str(), limits(), None).await?;
        Ok(Self { ingress, proxy, console, admin })
    }

    /// Their real addresses, with the ports that the system chose.
    pub fn addresses(&self) -> Addresses {
        let address = |listener: &Listener| listener.local_addr().to_string();
        Addresses {
            ingress: self.ingress.as_ref().map(address),
            proxy: self.proxy.as_ref().map(address),
            console: self.console.as_ref().map(address),
            admin: address(&self.admin),
        }
    }
}

impl Addresses {
    /// One line each in the log and, if asked for, one line of JSON on standard output.
    pub fn announce(&self, print: bool) -> Result<(), Error> {
        let admin = Some(self.admin.clone());
        let named = [
            ("ingress", &self.ingress),
            ("proxy", &self.proxy),
            ("console", &self.console),
            ("admin", &admin),
        ];
        for (listener, address) in named {
            if let Some(address) = address {
                tracing::info!(listener, listen = %address, "{listener} listens on {address}");
            }
        }
        if print {
            let mut line = json!({ "ingress": self.ingress, "console": self.console, "admin": self.admin });
            if let (Some(proxy), Some(line)) = (&self.proxy, line.as_object_mut()) {
                line.insert("proxy".to_owned(), json!(proxy));
            }
            output::line(&line.to_string())?;
        }
        Ok(())
    }
}
