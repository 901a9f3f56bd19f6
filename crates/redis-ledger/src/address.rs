//! Where Redis is, read from one URL. Knows of no connection; shows no password.
//!
//! - `redis://[USER[:PASSWORD]@]HOST[:PORT][/DB]`, or `rediss://…` for TLS: one server.
//! - `redis+sentinel://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]…]/SERVICE[/DB][?user=…&password=…]`, or
//!   `rediss+sentinel://…` for TLS to all: the master that the sentinels name. What stands before the `@` is for the
//!   Redis servers, `user` and `password` at the end are for the sentinels.
//!
//! A host that is an IPv6 address stands in brackets. Special characters are percent-encoded. A password alone is
//! `:PASSWORD@`.

use percent_encoding::percent_decode_str;
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates,
};

use crate::error::OpenError;

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Sentinels that are asked, at most.
const SENTINELS_MAX: usize = 16;

/// A server, or those who know it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    hosts: Vec<Host>,
    /// The name of the master, where the hosts are sentinels.
    service: Option<String>,
    login: Login,
    sentinel_login: Login,
    db: i64,
    tls: bool,
    root_certificate: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub name: String,
    pub port: u16,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct Login {
    user: Option<String>,
    password: Option<String>,
}

impl Address {
    /// Reads a URL of the forms above.
    pub fn parse(url: &str) -> Result<Self, OpenError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| refuse("it has no scheme"))?;
        let (tls, is_sentinel) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+sentinel" => (false, true),
            "rediss+sentinel" => (true, true),
            _ => return Err(refuse("the scheme must be redis, rediss, redis+sentinel or rediss+sentinel")),
        };
        if rest.contains('#') {
            return Err(refuse("a fragment (#) means nothing here"));
        }
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Login::parse(login)?, hosts),
            None => (Login::default(), authority),
        };
        let default_port = if is_sentinel { SENTINEL_PORT } else { REDIS_PORT };
        let hosts: Vec<Host> =
            hosts.split(',').map(|host| Host::parse(host, default_port)).collect::<Result<_, _>>()?;
        if hosts.len() > SENTINELS_MAX {
            return Err(refuse("it names more than 16 sentinels"));
        }
        if !is_sentinel && (hosts.len() > 1 || query.is_some()) {
            return Err(refuse("only redis+sentinel takes several hosts or options"));
        }
        let (service, db) = if is_sentinel { service_and_db(path)? } else { (None, db_of(path)?) };
        let sentinel_login = query.map_or(Ok(Login::default()), Login::of_query)?;
        Ok(Self { hosts, service, login, sentinel_login, db, tls, root_certificate: None })
    }

    pub fn with_root_certificate(self, pem: Vec<u8>) -> Self {
        Self { root_certificate: Some(pem), ..self }
    }

    /// The name of the master that the sentinels are asked for; `None` where the only host is the server.
    pub fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }

    /// The server, or the sentinels.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// A client that talks to the server itself.
    pub fn client_of_server(&self, host: &Host) -> Result<Client, OpenError> {
        self.client(host, &self.login, self.db)
    }

    /// A client that asks a sentinel.
    pub fn client_of_sentinel(&self, host: &Host) -> Result<Client, OpenError> {
        self.client(host, &self.sentinel_login, 0)
    }

    fn client(&self, host: &Host, login: &Login, db: i64) -> Result<Client, OpenError> {
        let (name, port) = (host.name.clone(), host.port);
        let addr = if self.tls {
            ConnectionAddr::TcpTls { host: name, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(name, port)
        };
        let mut settings = RedisConnectionInfo::default().set_db(db).set_skip_set_lib_name();
        if let Some(user) = &login.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &login.password {
            settings = settings.set_password(password);
        }
        let refuse = |error: redis::RedisError| OpenError::Url(error.to_string());
        let info: ConnectionInfo = addr.into_connection_info().map_err(refuse)?;
        let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
        let info = info.set_tcp_settings(tcp).set_redis_settings(settings);
        match (self.tls, &self.root_certificate) {
            (true, Some(pem)) => {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) };
                let refuse = |error: redis::RedisError| OpenError::Authority(error.to_string());
                Client::build_with_tls(info, certificates).map_err(refuse)
            }
            _ => Client::open(info).map_err(refuse),
        }
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Address")
            .field("hosts", &self.hosts)
            .field("service", &self.service)
            .field("db", &self.db)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

impl Host {
    fn parse(text: &str, default_port: u16) -> Result<Self, OpenError> {
        let port_of = |port: &str| port.parse().map_err(|_| refuse("a port must be a number up to 65535"));
        let (name, port) = if let Some(rest) = text.strip_prefix('[') {
            let (name, rest) = rest.split_once(']').ok_or_else(|| refuse("a bracket is not closed"))?;
            let port = match rest.strip_prefix(':') {
                Some(port) => port_of(port)?,
                None if rest.is_empty() => default_port,
                None => return Err(refuse("after a bracket only a port may follow")),
            };
            (name, port)
        } else {
            match text.split_once(':') {
                Some((name, port)) => (name, port_of(port)?),
                None => (text, default_port),
            }
        };
        if name.is_empty() {
            return Err(refuse("a host is missing"));
        }
        Ok(Self { name: name.to_owned(), port })
    }
}

impl Login {
    fn parse(text: &str) -> Result<Self, OpenError> {
        let (user, password) =
            text.split_once(':').map_or((text, None), |(user, password)| (user, Some(password)));
        let user = if user.is_empty() { None } else { Some(decoded(user)?) };
        Ok(Self { user, password: password.map(decoded).transpose()? })
    }

    fn of_query(query: &str) -> Result<Self, OpenError> {
        let mut login = Login::default();
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("user", user)) => login.user = Some(decoded(user)?),
                Some(("password", password)) => login.password = Some(decoded(password)?),
                _ => return Err(refuse("the options are user and password, of the sentinels")),
            }
        }
        Ok(login)
    }
}

fn service_and_db(path: &str) -> Result<(Option<String>, i64), OpenError> {
    let (service, db) = path.split_once('/').unwrap_or((path, ""));
    if service.is_empty() {
        return Err(refuse("the name of the master is missing: redis+sentinel://HOST/SERVICE"));
    }
    Ok((Some(decoded(service)?), db_of(db)?))
}

fn db_of(path: &str) -> Result<i64, OpenError> {
    let number: Option<u32> = if path.is_empty() { Some(0) } else { path.parse().ok() };
    number.map(i64::from).ok_or_else(|| refuse("the database must be a number"))
}

fn decoded(text: &str) -> Result<String, OpenError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| refuse("a part of it is not UTF-8"))
}

fn refuse(why: &str) -> OpenError {
    OpenError::Url(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, port: u16) -> Host {
        Host { name: name.to_owned(), port }
    }

    #[test]
    fn a_server_s_address_is_read() {
        let plain = Address::parse("redis://127.0.0.1").unwrap();
        assert_eq!((plain.hosts(), plain.service(), plain.db), (&[host("127.0.0.1", 6379)][..], None, 0));
        let full = Address::parse("rediss://pay:p%40ss:word@redis.example:7000/3").unwrap();
        assert_eq!((full.hosts(), full.tls, full.db), (&[host("redis.example", 7000)][..], true, 3));
        assert_eq!(full.login.user.as_deref(), Some("pay"));
        assert_eq!(full.login.password.as_deref(), Some("p@ss:word"));
        let only_password = Address::parse("redis://:secret@[::1]:7001/").unwrap();
        assert_eq!(only_password.hosts(), [host("::1", 7001)]);
        assert_eq!(only_password.login.user, None);
        let client = full.client_of_server(&full.hosts()[0]).unwrap();
        assert_eq!(client.get_connection_info().redis_settings().password(), Some("p@ss:word"));
        assert!(client.get_connection_info().tcp_settings().nodelay());
    }

    #[test]
    fn sentinels_and_their_own_login_are_read() {
        let url = "redis+sentinel://app:one@a,b:5000,[::2]/pay/2?user=watch&password=tw%26o";
        let address = Address::parse(url).unwrap();
        assert_eq!(address.hosts(), [host("a", 26379), host("b", 5000), host("::2", 26379)]);
        assert_eq!((address.service(), address.db), (Some("pay"), 2));
        let server = address.client_of_server(&host("m", 1)).unwrap();
        assert_eq!(server.get_connection_info().redis_settings().password(), Some("one"));
        let sentinel = address.client_of_sentinel(&host("a", 1)).unwrap();
        assert_eq!(sentinel.get_connection_info().redis_settings().password(), Some("tw&o"));
        assert_eq!(sentinel.get_connection_info().redis_settings().db(), 0);
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_shown() {
        for bad in [
            "127.0.0.1:6379",
            "http://u:topsecret@x",
            "redis://",
            "redis://u:topsecret@a,b",
            "redis://u:topsecret@a/x",
            "redis://u:topsecret@a:99999",
            "redis://u:topsecret@a?password=topsecret",
            "redis://u:topsecret@a#insecure",
            "redis://[::1",
            "redis+sentinel://u:topsecret@a",
            "redis+sentinel://a/s?topsecret",
            "redis+sentinel://a/s/x",
            "redis://u:%ff@a",
        ] {
            let error = Address::parse(bad).unwrap_err().to_string();
            assert!(!error.contains("topsecret"), "{error}");
        }
    }

    #[test]
    fn i10_passwords_are_not_shown() {
        let url = "redis+sentinel://app:topsecret@a/pay?password=topsecret";
        let shown = format!("{:?}", Address::parse(url).unwrap());
        assert!(shown.contains("pay") && !shown.contains("topsecret"), "{shown}");
    }
}
