//! Every record survives its bytes, small ones are small, and no bytes make the reader panic.

use paybell_core::event::{
    ContentType, Event, EventType, LearnedBy, OrderData, SpecVersion, event_id, source_of,
};
use paybell_core::ids::{BusinessNo, TransactionId};
use paybell_core::observation::{Coupon, Openid, Payment};
use paybell_core::place::{Offer, Placing, TradeType, Wish};
use paybell_core::record::{Entry, Hint, LookAgain, Progress, QuickLooks, SeenAs};
use paybell_core::verdict::Verdict;
use proptest::option::of;
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_795_147_200_123);

fn key() -> OrderKey {
    OrderKey::new("1900000109", "T2026112000000001").unwrap()
}

/// As a business service registers most orders.
fn registered() -> Record {
    let mut record = Record::new(key(), NOW, NOW);
    record.registration = Some(Registration {
        total_fee: Fen::new(1999).unwrap(),
        fee_type: Currency::CNY,
        appid: AppId::new("wx8888888888888888").ok(),
        sub_mch_id: None,
        expires_at: None,
        business_no: None,
    });
    record.due = Some(Due { at: NOW + paybell_core::time::Millis::seconds(15), cause: Cause::Cadence });
    record
}

#[test]
fn a_pending_registered_order_is_embedded_by_redis() {
    let bytes = encode(&registered()).unwrap();
    assert!(bytes.len() <= 30, "{} bytes", bytes.len());
    let mut most = registered();
    let registration = most.registration.as_mut().unwrap();
    registration.expires_at = Some(NOW + paybell_core::time::Millis::seconds(86_400));
    registration.total_fee = Fen::new(paybell_core::money::FEN_MAX).unwrap();
    most.due = Some(Due { at: NOW + paybell_core::time::Millis::seconds(21_600), cause: Cause::Cadence });
    most.claim = 999;
    let bytes = encode(&most).unwrap();
    assert!(bytes.len() <= 44, "{} bytes: Redis embeds up to 44", bytes.len());
}

#[test]
fn what_is_stored_today_is_read_for_ever() {
    let bytes = "01450000f6d9e3f1be68b0ea01cf0f8888888888888888";
    let stored: Vec<u8> = (0..bytes.len() / 2)
        .map(|place| u8::from_str_radix(&bytes[place * 2..place * 2 + 2], 16).unwrap())
        .collect();
    assert_eq!(encode(&registered()).unwrap(), stored);
    assert_eq!(decode(&key(), &stored).unwrap(), registered());
}

#[test]
fn a_newer_format_is_named() {
    let mut bytes = encode(&registered()).unwrap();
    bytes[0] = FORMAT + 1;
    let Err(Fault::Corrupt(cause)) = decode(&key(), &bytes) else { panic!("read") };
    assert!(cause.contains("format 3"), "{cause}");
    bytes[0] = 0;
    assert!(decode(&key(), &bytes).is_err());
}

#[test]
fn a_record_cut_short_or_too_long_is_refused() {
    let bytes = encode(&registered()).unwrap();
    for length in 0..bytes.len() {
        assert!(decode(&key(), &bytes[..length]).is_err(), "{length} bytes");
    }
    assert!(decode(&key(), &[bytes.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn appids_of_any_form_survive() {
    for appid in
        ["wx8888888888888888", "wx00ff00ff00ff00ff", "wxABCDEF0123456789", "wx1", "app", "wxg888888888888888"]
    {
        let mut record = registered();
        record.registration.as_mut().unwrap().appid = AppId::new(appid).ok();
        assert_eq!(decode(&key(), &encode(&record).unwrap()).unwrap(), record);
    }
}

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![any::<i64>(), 1_700_000_000_000..1_900_000_000_000_i64].prop_map(Timestamp::from_millis)
}

/// Times in published documents are whole seconds.
fn seconds() -> impl Strategy<Value = Timestamp> {
    (1_700_000_000..1_900_000_000_i64).prop_map(|seconds| Timestamp::from_millis(seconds * 1000))
}

fn fen() -> impl Strategy<Value = Fen> {
    (0..=paybell_core::money::FEN_MAX).prop_map(|fen| Fen::new(fen).unwrap())
}

fn currency() -> impl Strategy<Value = Currency> {
    prop_oneof![Just(Currency::CNY), "[A-Z]{3}".prop_map(|code| Currency::new(&code).unwrap())]
}

fn appid() -> impl Strategy<Value = AppId> {
    prop_oneof!["wx[0-9a-f]{16}", "[A-Za-z0-9_-]{1,32}"].prop_map(|text| AppId::new(text).unwrap())
}

fn mch_id() -> impl Strategy<Value = MchId> {
    "[A-Za-z0-9]{1,32}".prop_map(|text| MchId::new(text).unwrap())
}

fn transaction_id() -> impl Strategy<Value = TransactionId> {
    "[0-9]{28}".prop_map(|text| TransactionId::new(text).unwrap())
}

fn due() -> impl Strategy<Value = Due> {
    (time(), proptest::sample::select(CAUSES.to_vec())).prop_map(|(at, cause)| Due { at, cause })
}

fn lease() -> impl Strategy<Value = Lease> {
    (any::<u128>(), time(), any::<bool>()).prop_map(|(token, until, committed)| Lease {
        token: LeaseToken(token),
        until,
        committed,
    })
}

fn registration() -> impl Strategy<Value = Registration> {
    let business_no = "[!-~]{1,64}".prop_map(|text| BusinessNo::new(text).unwrap());
    (fen(), currency(), of(appid()), of(mch_id()), of(time()), of(business_no)).prop_map(
        |(total_fee, fee_type, appid, sub_mch_id, expires_at, business_no)| Registration {
            total_fee,
            fee_type,
            appid,
            sub_mch_id,
            expires_at,
            business_no,
        },
    )
}

fn placing() -> impl Strategy<Value = Placing> {
    let parts = proptest::collection::btree_map(any::<String>(), any::<String>(), 0..3);
    let trade_type = proptest::sample::select(TradeType::ALL.to_vec());
    let wish = (trade_type, parts).prop_map(|(trade_type, parts)| Wish { trade_type, parts });
    let texts = (any::<String>(), of(any::<String>()), of(any::<String>()), of(any::<String>()));
    let offer = (texts, time()).prop_map(|((prepay_id, code_url, mweb_url, payer), at)| Offer {
        prepay_id,
        code_url,
        mweb_url,
        at,
        payer,
    });
    (wish, time(), time(), of(time()), of(time()), of(offer), of(any::<String>())).prop_map(
        |(wish, since, begun_at, calling_until, called_until, offer, notify_url)| Placing {
            wish,
            since,
            begun_at,
            calling_until,
            called_until,
            offer,
            notify_url,
        },
    )
}

fn hint() -> impl Strategy<Value = Hint> {
    prop_oneof![Just(Hint::Any), transaction_id().prop_map(Hint::One)]
}

fn look_again() -> impl Strategy<Value = LookAgain> {
    (proptest::sample::select(CAUSES.to_vec()), of(hint()))
        .prop_map(|(cause, notified)| LookAgain { cause, notified })
}

fn progress() -> impl Strategy<Value = Progress> {
    let quick = (any::<u8>(), of(time()), hint()).prop_map(|(made, at, hint)| QuickLooks { made, at, hint });
    let seen_as = (appid(), of(mch_id())).prop_map(|(appid, sub_mch_id)| SeenAs { appid, sub_mch_id });
    (any::<[bool; 3]>(), of(quick), any::<u32>(), of(time()), of(time()), of(seen_as)).prop_map(
        |([notified, owed, refund_only], quick, attempts, looked_at, held_until, seen_as)| Progress {
            notified,
            owed,
            refund_only,
            quick,
            attempts,
            looked_at,
            held_until,
            seen_as,
        },
    )
}

fn verdict() -> impl Strategy<Value = Verdict> {
    (any::<String>(), time(), of(transaction_id()), fen(), currency()).prop_map(
        |(who, at, transaction_id, total_fee, fee_type)| Verdict {
            who,
            at,
            transaction_id,
            total_fee,
            fee_type,
        },
    )
}

fn payment() -> impl Strategy<Value = Payment> {
    (of(appid()), of(transaction_id()), of(fen()), currency(), of(any::<String>()), of(seconds())).prop_map(
        |(appid, transaction_id, total_fee, fee_type, attach, paid_at)| Payment {
            refunded: attach.is_some(),
            appid,
            sub_mch_id: None,
            transaction_id,
            total_fee,
            fee_type,
            cash_fee: total_fee,
            settlement_total_fee: None,
            coupon_fee: None,
            coupons: total_fee.map(|fee| Coupon { id: "c".into(), kind: None, fee }).into_iter().collect(),
            trade_type: attach.clone(),
            bank_type: None,
            openid: attach.clone().map(Openid),
            attach,
            paid_at,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    (transaction_id(), seconds(), fen(), any::<u64>(), of(any::<String>())).prop_map(
        |(transaction_id, time, fee, version, attach)| Event {
            specversion: SpecVersion::V1,
            id: event_id(&key(), EventType::Paid, transaction_id.as_str()),
            source: source_of(&key().mch_id),
            kind: EventType::Paid,
            subject: key().out_trade_no.to_string(),
            time,
            datacontenttype: ContentType::Json,
            data: OrderData {
                version,
                mch_id: key().mch_id,
                sub_mch_id: None,
                appid: None,
                out_trade_no: key().out_trade_no,
                transaction_id: Some(transaction_id),
                total_fee: Some(fee),
                fee_type: Some(Currency::CNY),
                cash_fee: Some(fee),
                settlement_total_fee: None,
                coupon_fee: None,
                coupons: Vec::new(),
                trade_state: Some("SUCCESS".into()),
                trade_type: None,
                bank_type: None,
                attach,
                paid_at: Some(time),
                learned_by: LearnedBy::Poll,
                late: false,
                registered: true,
                shadow: false,
                openid: None,
                disagreement: None,
                refund: None,
                duplicate: None,
            }
            .into(),
        },
    )
}

fn history() -> impl Strategy<Value = Vec<Entry>> {
    let line = (time(), any::<String>(), any::<String>(), of(event()))
        .prop_map(|(at, what, detail, event)| Entry { at, what, detail, event: event.map(Box::new) });
    proptest::collection::vec(line, 0..4)
}

prop_compose! {
    fn record()(
        short in (time(), time(), any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>()),
        state in proptest::sample::select(State::ALL.to_vec()),
        parts in (of(registration()), of(due()), of(lease()), of(due())),
        rare in (of(progress()), of(look_again()), of(verdict()), of(payment())),
        outgoing in proptest::collection::vec(event(), 0..2),
        history in history(),
        placing in of(placing()),
    ) -> Record {
        let mut record = Record::new(key(), short.0, short.1);
        (record.version, record.claim, record.facts, record.leases_lost) = (short.2, short.3, short.4, short.5);
        record.state = state;
        (record.registration, record.due, record.lease, record.due_decided) = parts;
        record.progress = rare.0.unwrap_or_default();
        (record.look_again, record.verdict, record.payment) = (rare.1, rare.2, rare.3);
        (record.outgoing, record.history) = (outgoing, history);
        record.placing = placing.map(Box::new);
        record
    }
}

proptest! {
    #[test]
    fn every_record_survives_its_bytes(record in record()) {
        let bytes = encode(&record).unwrap();
        let read = decode(&key(), &bytes).unwrap();
        prop_assert_eq!(&read, &record);
        prop_assert_eq!(encode(&read).unwrap(), bytes, "equal records have equal bytes");
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), has_format: bool) {
        let bytes = if has_format { [vec![FORMAT_PLAIN], bytes].concat() } else { bytes };
        let _ = decode(&key(), &bytes);
    }

    #[test]
    fn a_changed_byte_is_another_record_or_none(record in record(), place: prop::sample::Index, flip in 1_u8..) {
        let mut bytes = encode(&record).unwrap();
        let before = bytes.clone();
let short = before.iter().position(|byte| *byte == b'{').unwrap_or(before.len());
        let place = place.index(short);
        bytes[place] ^= flip;
        if let Ok(read) = decode(&key(), &bytes) {
            prop_assert_ne!(read, record);
        }
    }
}

#[test]
fn only_a_record_with_refunds_is_newer_than_a_reader_without_them_knows() {
    let wish = paybell_core::refund::RefundApplication {
        out_refund_no: paybell_core::OutRefundNo::new("R1").unwrap(),
        refund_fee: Fen::new(5).unwrap(),
        total_fee: Fen::new(1999).ok(),
        fee_type: None,
        refund_account: None,
        refund_desc: None,
        seen_as: None,
        who: "shop".to_owned(),
    };
    let (refunded, _) = paybell_core::refund::request(None, &key(), &wish, NOW);
    let refunded = refunded.unwrap();
    let bytes = encode(&refunded).unwrap();
    assert_eq!((bytes[0], encode(&registered()).unwrap()[0]), (2, 1));
    assert_eq!(decode(&key(), &bytes).unwrap(), refunded);
    let mut disguised = bytes;
    disguised[0] = 1;
    assert!(decode(&key(), &disguised).is_err(), "equal records have equal bytes");
}
