//! Who pays: people, known to each app under another openid. Keeps which app an openid belongs to, so that one of
//! another app is refused; the calls that hand openids out are in `openid`.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{faults::hash, order::OrderKey};

/// Openids remembered at most; those beyond are taken for anybody's.
const OPENIDS_MAX: usize = 1_000_000;

#[derive(Default)]
pub(crate) struct People {
    /// The app of each openid that was handed out.
    apps: Mutex<HashMap<String, String>>,
}

impl People {
    /// The openid of a person under an app; the same every time.
    pub(crate) fn openid(&self, appid: &str, person: &str) -> String {
        let key = OrderKey { mch_id: appid.to_owned(), out_trade_no: person.to_owned() };
        let openid = format!("oSIM{:016x}{:08x}", hash(&[6], &key), hash(&[7], &key) >> 32);
        let mut apps = self.apps();
        if apps.len() < OPENIDS_MAX {
            apps.insert(openid.clone(), appid.to_owned());
        }
        openid
    }

    /// The app that an openid was handed out for.
    pub(crate) fn app_of(&self, openid: &str) -> Option<String> {
        self.apps().get(openid).cloned()
    }

    fn apps(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
