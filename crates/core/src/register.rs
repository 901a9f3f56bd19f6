//! Registering an order: what a business service tells us before the payer pays.
//!
//! One compare-and-set that needs no lease. It never emits: the check it makes due decides.

use serde::{Deserialize, Serialize};

use crate::cadence::Cadence;
use crate::ids::{AppId, BusinessNo, MchId, OrderKey};
use crate::lease::hurry;
use crate::money::{Currency, Fen};
use crate::record::{Cause, Due, Entry, LookAgain, Record};
use crate::time::{Millis, Timestamp};

/// How far ahead of the ledger's clock `created_at` may lie.
pub const CREATED_AHEAD_MAX: Millis = Millis::seconds(300);

/// The registered facts of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    pub total_fee: Fen,
    #[serde(default)]
    pub fee_type: Currency,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appid: Option<AppId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_mch_id: Option<MchId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Which of the shop's own orders it pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub business_no: Option<BusinessNo>,
}

/// What a service asks to register; absent means default, or equal to what is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    pub total_fee: Fen,
    pub fee_type: Option<Currency>,
    pub appid: Option<AppId>,
    pub sub_mch_id: Option<MchId>,
    pub created_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub business_no: Option<BusinessNo>,
}

/// What registering did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// 201: it added a registration.
    Added,
    /// 200: the same again.
    Same,
    /// 409: something else is registered; the fields that differ.
    Different(Vec<&'static str>),
    /// 400: `created_at` lies too far ahead of the ledger's clock.
    Ahead,
}

/// The record after the application, and what it did. `None` leaves the stored record as it is.
pub fn register(
    stored: Option<&Record>,
    key: &OrderKey,
    application: &Application,
    cadence: &Cadence,
    now: Timestamp,
) -> (Option<Record>, Registered) {
    if application.created_at.is_some_and(|created_at| created_at > now + CREATED_AHEAD_MAX) {
        return (None, Registered::Ahead);
    }
    if let Some(record) = stored
        && let Some(registration) = &record.registration
    {
        let different = differences(registration, record.created_at, application);
        let outcome = if different.is_empty() { Registered::Same } else { Registered::Different(different) };
        return (None, outcome);
    }
    let record = match stored {
        Some(known) => register_known(known.clone(), application, now),
        None => register_new(key, application, cadence, now),
    };
    (Some(record), Registered::Added)
}

fn differences(
    registered: &Registration,
    created_at: Timestamp,
    application: &Application,
) -> Vec<&'static str> {
    let mut different = Vec::new();
    let mut compare = |name, differs: bool| {
        if differs {
            different.push(name);
        }
    };
    compare("total_fee", application.total_fee != registered.total_fee);
    compare("fee_type", application.fee_type.as_ref().is_some_and(|asked| *asked != registered.fee_type));
    compare("appid", application.appid.is_some() && application.appid != registered.appid);
    compare(
        "sub_mch_id",
        application.sub_mch_id.is_some() && application.sub_mch_id != registered.sub_mch_id,
    );
    compare("created_at", application.created_at.is_some_and(|asked| asked != created_at));
    compare(
        "expires_at",
        application.expires_at.is_some() && application.expires_at != registered.expires_at,
    );
    compare(
        "business_no",
        application.business_no.is_some() && application.business_no != registered.business_no,
    );
    different
}

fn register_new(key: &OrderKey, application: &Application, cadence: &Cadence, now: Timestamp) -> Record {
    let created_at = application.created_at.unwrap_or(now);
    let mut record = Record::new(key.clone(), created_at, now);
    let first = cadence.next_point(created_at, application.expires_at, now).unwrap_or(now);
    record.due = Some(Due { at: first, cause: Cause::Cadence });
    record.registration = Some(registration_of(application));
    record
}

/// The order was known by a notification only: look now, so that `decide` compares it with what was paid.
fn register_known(mut record: Record, application: &Application, now: Timestamp) -> Record {
    record.meet(now);
    record.registration = Some(registration_of(application));
    record.created_at = application.created_at.unwrap_or(record.created_at);
    record.facts = record.facts.wrapping_add(1);
    record.updated_at = now;
    record.note(Entry::new(
        now,
        "registered",
        format!("{} {}", application.total_fee, record.state.as_str()),
    ));
    wake(&mut record, Cause::Registered, now);
    record
}

fn registration_of(application: &Application) -> Registration {
    Registration {
        total_fee: application.total_fee,
        fee_type: application.fee_type.clone().unwrap_or_default(),
        appid: application.appid.clone(),
        sub_mch_id: application.sub_mch_id.clone(),
        expires_at: application.expires_at,
        business_no: application.business_no.clone(),
    }
}

/// Makes a record due at once, or, while it is leased, has its holder's end do so.
///
/// Where a holder died with events outgoing, the next holder only publishes them and restores the decided due time:
/// the wish must outlive that, so it is kept as *look again* too.
pub(crate) fn wake(record: &mut Record, cause: Cause, now: Timestamp) {
    let is_held = record.lease.is_some_and(|lease| lease.until > now);
    if is_held || !record.outgoing.is_empty() {
        let earlier = record.look_again.take();
        // A wish for a refund takes nothing from an earlier wish for the order.
        let both = match &earlier {
            Some(earlier) if cause == Cause::Refund => earlier.cause.and(cause),
            _ => cause,
        };
        record.look_again =
            Some(LookAgain { cause: both, notified: earlier.and_then(|again| again.notified) });
    }
    if is_held {
        hurry(record, cause);
    } else {
        // A refund brings a due time of its own, and the order's may rest.
        let order = if cause == Cause::Refund { record.order_due } else { Some(Due { at: now, cause }) };
        record.rest_until(order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::LeaseToken;
    use crate::record::{Hint, Lease};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn key() -> OrderKey {
        OrderKey::new("1900000109", "T1").unwrap()
    }

    fn asks(total_fee: i64) -> Application {
        Application {
            total_fee: Fen::new(total_fee).unwrap(),
            fee_type: None,
            appid: None,
            sub_mch_id: None,
            created_at: None,
            expires_at: None,
            business_no: None,
        }
    }

    fn add(stored: Option<&Record>, application: &Application) -> (Option<Record>, Registered) {
        register(stored, &key(), application, &Cadence::wechat(), NOW)
    }

    #[test]
    fn a_new_order_is_due_at_the_first_cadence_point() {
        let (record, outcome) = add(None, &asks(1));
        assert_eq!(outcome, Registered::Added);
        assert_eq!(record.unwrap().due.unwrap().at, NOW + Millis::seconds(15));
    }

    #[test]
    fn all_points_passed_means_one_look_now() {
        let old = Application { created_at: Some(NOW - Millis::seconds(90_000)), ..asks(1) };
        let (record, _) = add(None, &old);
        assert_eq!(record.unwrap().due.unwrap().at, NOW);
    }

    #[test]
    fn the_same_again_is_the_same_and_absent_means_equal() {
        let full = Application {
            fee_type: Some(Currency::new("USD").unwrap()),
            appid: Some(AppId::new("wx1").unwrap()),
            created_at: Some(NOW),
            ..asks(5)
        };
        let (record, _) = add(None, &full);
        let record = record.unwrap();
        assert_eq!(add(Some(&record), &full).1, Registered::Same);
        assert_eq!(add(Some(&record), &asks(5)).1, Registered::Same);
        let other = Application { appid: Some(AppId::new("wx2").unwrap()), ..asks(6) };
        assert_eq!(add(Some(&record), &other).1, Registered::Different(vec!["total_fee", "appid"]));
    }

    #[test]
    fn created_at_more_than_five_minutes_ahead_is_refused() {
        let at = |millis| Application { created_at: Some(NOW + Millis(millis)), ..asks(1) };
        assert_eq!(add(None, &at(300_000)).1, Registered::Added);
        assert_eq!(add(None, &at(300_001)).1, Registered::Ahead);
    }

    #[test]
    fn a_known_order_is_due_at_once_or_looked_at_again_while_leased() {
        let mut known = Record::new(key(), NOW, NOW);
        known.due = Some(Due { at: NOW + Millis::seconds(99), cause: Cause::Cadence });
        let (free, outcome) = add(Some(&known), &asks(1));
        let free = free.unwrap();
        assert_eq!(outcome, Registered::Added);
        assert_eq!(free.due, Some(Due { at: NOW, cause: Cause::Registered }));
        assert_eq!(free.facts, 1, "a decision made on older facts must be refused");
        known.lease = Some(Lease { token: LeaseToken(1), until: NOW + Millis(1), committed: false });
        let held = add(Some(&known), &asks(1)).0.unwrap();
        let urgent = Due { cause: Cause::Registered, ..known.due.unwrap() };
        assert_eq!(held.due, Some(urgent), "should the holder die, its end must not wait behind polls");
        assert_eq!(held.look_again.unwrap().cause, Cause::Registered);
    }

    #[test]
    fn every_differing_field_is_named() {
        let registered = Application {
            fee_type: Some(Currency::CNY),
            appid: Some(AppId::new("wx1").unwrap()),
            sub_mch_id: Some(MchId::new("1").unwrap()),
            created_at: Some(NOW),
            expires_at: Some(NOW + Millis(9)),
            business_no: BusinessNo::new("B1").ok(),
            ..asks(5)
        };
        let record = add(None, &registered).0.unwrap();
        let different = |change: fn(&mut Application)| {
            let mut asked = registered.clone();
            change(&mut asked);
            add(Some(&record), &asked).1
        };
        let only = |field| Registered::Different(vec![field]);
        assert_eq!(different(|_| {}), Registered::Same);
        assert_eq!(different(|asked| asked.total_fee = Fen::new(6).unwrap()), only("total_fee"));
        assert_eq!(different(|asked| asked.fee_type = Currency::new("USD").ok()), only("fee_type"));
        assert_eq!(different(|asked| asked.appid = AppId::new("wx2").ok()), only("appid"));
        assert_eq!(different(|asked| asked.sub_mch_id = MchId::new("2").ok()), only("sub_mch_id"));
        assert_eq!(different(|asked| asked.created_at = Some(NOW - Millis(1))), only("created_at"));
        assert_eq!(different(|asked| asked.expires_at = Some(NOW)), only("expires_at"));
        assert_eq!(different(|asked| asked.business_no = BusinessNo::new("B2").ok()), only("business_no"));
    }

    #[test]
    fn a_refused_application_leaves_the_record_alone() {
        let record = add(None, &asks(5)).0.unwrap();
        assert_eq!(add(Some(&record), &asks(5)), (None, Registered::Same));
        assert_eq!(add(Some(&record), &asks(6)), (None, Registered::Different(vec!["total_fee"])));
        let ahead = Application { created_at: Some(NOW + Millis(300_001)), ..asks(5) };
        assert_eq!(add(None, &ahead), (None, Registered::Ahead));
    }

    #[test]
    fn a_known_order_takes_the_given_creation_time_and_keeps_its_own_without() {
        let known = Record::new(key(), NOW - Millis(50), NOW - Millis(50));
        assert_eq!(add(Some(&known), &asks(1)).0.unwrap().created_at, known.created_at);
        let given = Application { created_at: Some(NOW - Millis(90)), ..asks(1) };
        assert_eq!(add(Some(&known), &given).0.unwrap().created_at, NOW - Millis(90));
    }

    #[test]
    fn waking_a_leased_order_keeps_that_it_was_notified() {
        let mut known = Record::new(key(), NOW, NOW);
        known.lease = Some(Lease { token: LeaseToken(1), until: NOW + Millis(1), committed: false });
        known.look_again = Some(LookAgain { cause: Cause::Notified, notified: Some(Hint::Any) });
        let held = add(Some(&known), &asks(1)).0.unwrap();
        let both = LookAgain { cause: Cause::Registered, notified: Some(Hint::Any) };
        assert_eq!(held.look_again, Some(both));
    }
}
