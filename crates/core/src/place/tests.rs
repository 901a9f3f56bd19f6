//! The steps of placing: what is kept, what stands in the way, and for how long a payer may hold an offer.

use super::*;
use crate::samples::*;

fn wish(body: &str) -> Wish {
    let parts = BTreeMap::from([("body".to_owned(), body.to_owned())]);
    Wish { trade_type: TradeType::Jsapi, parts }
}

fn offer(at: Timestamp) -> Offer {
    Offer { prepay_id: "wx20".into(), code_url: None, mweb_url: None, at, payer: None }
}

fn stored(stepped: (Option<Record>, Stepped)) -> Record {
    match stepped.1 {
        Stepped::Stored(record) => {
            assert_eq!(stepped.0.as_ref(), Some(&*record));
            *record
        }
        other => panic!("it was to be stored: {other:?}"),
    }
}

const URL: &str = "https://pay.example.com/notify/pay/1900000109";

fn begins(wish: Wish) -> Step {
    Step::Begin(wish, URL.to_owned())
}

fn ends(body: &str, begun_at: Timestamp) -> Step {
    Step::Ended(wish(body), begun_at, Ending::NotPlaced)
}

fn begin(record: &Record, body: &str, now: Timestamp) -> Record {
    stored(place(Some(record), &begins(wish(body)), now))
}

#[test]
fn only_a_registered_and_pending_order_is_placed() {
    assert_eq!(place(None, &begins(wish("a")), T0), (None, Stepped::Unregistered));
    for state in State::ALL {
        for is_registered in [true, false] {
            let desk = Desk::in_state(state, is_registered);
            let (record, stepped) = place(desk.stored.as_ref(), &begins(wish("a")), at(80));
            match (is_registered, state) {
                (false, _) => assert_eq!((record, stepped), (None, Stepped::Unregistered)),
                (true, State::Pending) => assert!(matches!(stepped, Stepped::Stored(_))),
                (true, state) => assert_eq!((record, stepped), (None, Stepped::Settled(state))),
            }
        }
    }
}

#[test]
fn what_was_offered_stands_against_another_wish_and_names_what_differs() {
    let desk = Desk::registered();
    let begun = begin(desk.record(), "a", T0);
    let begun = begin(&begun, "b", at(1));
    assert_eq!(
        place(Some(&begun), &Step::Offered(wish("a"), offer(T0)), at(2)),
        (None, Stepped::Outdated),
        "another wish took its place"
    );
    let offered = stored(place(Some(&begun), &Step::Offered(wish("b"), offer(at(1))), at(2)));
    let other = Wish { trade_type: TradeType::App, ..wish("c") };
    assert_eq!(
        place(Some(&offered), &begins(other), at(3)).1,
        Stepped::Different(vec!["trade_type".to_owned(), "body".to_owned()])
    );
    let slower = place(Some(&offered), &Step::Offered(wish("b"), offer(T0)), at(3));
    assert_eq!(slower, (None, Stepped::Covered));
}

#[test]
fn somebody_calls_from_the_begin_to_an_answer_or_for_half_a_minute() {
    let desk = Desk::registered();
    let begun = begin(desk.record(), "a", T0);
    let is_calling = |record: &Record, seconds| record.placing.as_ref().unwrap().is_calling(at(seconds));
    assert!(is_calling(&begun, 29) && !is_calling(&begun, 30));
    let offered = stored(place(Some(&begun), &Step::Offered(wish("a"), offer(T0)), at(1)));
    assert!(!is_calling(&offered, 1));
    let ended = stored(place(Some(&begun), &ends("a", T0), at(1)));
    assert!(!is_calling(&ended, 1));
    assert_eq!(place(Some(&begun), &ends("b", T0), at(1)), (None, Stepped::Outdated));
    let again = begin(&offered, "a", at(100));
    let placing = again.placing.as_ref().unwrap();
    assert_eq!((placing.since, placing.begun_at), (T0, at(100)));
    assert!(is_calling(&again, 100) && placing.offer.is_some(), "the earlier offer stays good");
}

#[test]
fn the_end_of_one_call_is_not_the_end_of_its_twin() {
    let desk = Desk::registered();
    let first = begin(desk.record(), "a", T0);
    let both = begin(&first, "a", at(2));
    let is_calling = |record: &Record, seconds| record.placing.as_ref().unwrap().is_calling(at(seconds));
    let second_ended = stored(place(Some(&both), &ends("a", at(2)), at(3)));
    assert!(is_calling(&second_ended, 29) && !is_calling(&second_ended, 30), "the first is on its way");
    let first_ended = place(Some(&both), &ends("a", T0), at(3));
    assert_eq!(first_ended, (None, Stepped::Outdated), "the second is on its way");
    let offered = stored(place(Some(&both), &Step::Offered(wish("a"), offer(T0)), at(3)));
    assert!(!is_calling(&offered, 3));
    let offered = stored(place(Some(&offered), &ends("a", at(2)), at(4)));
    assert!(!is_calling(&offered, 4) && offered.placing.unwrap().offer.is_some());
}

#[test]
fn a_payer_may_hold_an_offer_until_it_ended_for_sure_or_was_refused() {
    let desk = Desk::registered();
    let may = |record: &Record, seconds| record.may_be_offered(at(seconds));
    let begun = begin(desk.record(), "a", T0);
    assert!(may(&begun, 7799) && !may(&begun, 7800), "its end is not known");
    let ended = stored(place(Some(&begun), &ends("a", T0), at(1)));
    assert!(!may(&ended, 1), "nothing was offered");
    let again = begin(&begun, "a", at(100));
    let ended = stored(place(Some(&again), &ends("a", at(100)), at(101)));
    assert!(may(&ended, 7800), "the end of the first call is still not known");
    let offered = stored(place(Some(&begun), &Step::Offered(wish("a"), offer(T0)), at(1)));
    assert!(may(&offered, 7799) && !may(&offered, 7800));
}

#[test]
fn what_the_shop_s_own_sdk_may_have_offered_counts_from_its_creation() {
    let record = Desk::registered().record().clone();
    assert!(record.may_be_offered(at(7799)) && !record.may_be_offered(at(7800)));
    let stranger = Desk::in_state(State::Pending, false).record().clone();
    assert!(!stranger.may_be_offered(T0), "nobody closes what nobody registered");
}

#[test]
fn no_offer_outlives_the_end_that_wechat_was_told() {
    let mut desk = Desk::empty();
    desk.register(&crate::register::Application { expires_at: Some(at(600)), ..application(FEE) });
    let by_sdk = desk.record().clone();
    assert!(by_sdk.may_be_offered(at(659)) && !by_sdk.may_be_offered(at(660)));
    let untold = begin(&by_sdk, "a", at(10));
    assert!(untold.may_be_offered(at(660)), "WeChat was not told");
    let parts = BTreeMap::from([(TIME_EXPIRE.to_owned(), "digest".to_owned())]);
    let wish = Wish { trade_type: TradeType::Native, parts };
    let told = stored(place(Some(&by_sdk), &begins(wish), at(10)));
    assert!(told.may_be_offered(at(659)) && !told.may_be_offered(at(660)));
}

#[test]
fn what_comes_too_late_is_offered_to_nobody() {
    let desk = Desk::registered();
    let begun = begin(desk.record(), "a", T0);
    let offered =
        |record: &Record, since, now| place(Some(record), &Step::Offered(wish("a"), offer(since)), now);
    assert!(matches!(offered(&begun, T0, at(29)).1, Stepped::Stored(_)));
    assert_eq!(offered(&begun, T0, at(30)), (None, Stepped::Lapsed));
    let again = begin(&begun, "a", at(40));
    assert_eq!(
        offered(&again, T0, at(41)),
        (None, Stepped::Lapsed),
        "the second call proves nothing of the first"
    );
    assert!(matches!(offered(&again, at(40), at(41)).1, Stepped::Stored(_)));
    assert_eq!(offered(desk.record(), T0, at(1)), (None, Stepped::Unregistered), "the ledger lost its begin");
    for state in [State::Closed, State::Paid, State::Unpaid] {
        let over = Record { state, ..begun.clone() };
        assert_eq!(offered(&over, T0, at(1)), (None, Stepped::Settled(state)));
    }
}

#[test]
fn wechat_is_told_the_same_address_for_as_long_as_it_may_know_the_order() {
    const MOVED: &str = "https://new.example.com/notify/pay/1900000109";
    let desk = Desk::registered();
    let url = |record: &Record| record.placing.as_ref().unwrap().notify_url.clone().unwrap();
    let moves =
        |record: &Record, body| stored(place(Some(record), &Step::Begin(wish(body), MOVED.into()), at(50)));
    let begun = begin(desk.record(), "a", T0);
    assert_eq!(url(&moves(&begun, "a")), URL, "it may have heard of it");
    assert_eq!(url(&moves(&begun, "b")), MOVED, "that is another order");
    let ended = stored(place(Some(&begun), &ends("a", T0), at(1)));
    assert_eq!(url(&moves(&ended, "a")), MOVED, "it did not take it");
    let offered = stored(place(Some(&begun), &Step::Offered(wish("a"), offer(T0)), at(1)));
    assert_eq!(url(&moves(&offered, "a")), URL);
    let again = moves(&offered, "a");
    let refused = stored(place(Some(&again), &ends("a", at(50)), at(51)));
    assert_eq!(url(&moves(&refused, "a")), URL, "what was offered was offered");
}

#[test]
fn a_number_that_wechat_knows_from_elsewhere_was_never_begun() {
    let desk = Desk::registered();
    let elsewhere = |since| Step::Ended(wish("a"), since, Ending::PlacedElsewhere);
    let begun = begin(desk.record(), "a", T0);
    assert_eq!(stored(place(Some(&begun), &elsewhere(T0), at(1))).placing, None);
    let again = begin(&begun, "a", at(2));
    let ended = stored(place(Some(&again), &elsewhere(at(2)), at(3)));
    assert!(ended.placing.is_some(), "it may be what the first call placed");
}

#[test]
fn debug_output_shows_no_link() {
    assert!(!format!("{:?}", offer(T0)).contains("wx20"));
}
