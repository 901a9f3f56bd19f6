//! Nothing of a body, a key or a query reaches the log, however a call ends.

use std::io;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use crate::ledger::{Journal, Mood};
use crate::rig::Rig;
use crate::shop::{KEY, PREVIOUS, STRANGER, order, post, signed};
use crate::wechat::{Reply, Wechat, ok};
use wechat_pay::sign::Algorithm;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Kept {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn the_log_holds_no_body_and_no_key() {
    let kept = Kept::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(kept.clone())
        .finish();
    // Where there is one subscriber only, a line that another test reaches first, without one, is silent for good.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let _guard = tracing::subscriber::set_default(subscriber);
    let journal = Journal::default();
    let wechat = Wechat::start(journal.clone(), |seen| match seen.head.contains("/pay/micropay") {
        true => Reply::Close,
        false => Reply::Send(ok(b"<xml>ANSWER_OF_WECHAT</xml>")),
    })
    .await;
    let rig = Rig::start(&journal, &["http://127.0.0.1:1", &wechat.url]).await;
    let private = [("openid", "oPAYER"), ("auth_code", "134567890123456789"), ("attach", "PRIVATE_ATTACH")];
    let call = "/pay/unifiedorder?secret=IN_THE_QUERY";
    post(rig.address, call, &order("T1", "1999", &private)).await;
    post(rig.address, call, &order("T1", "2000", &private)).await;
    post(rig.address, "/pay/micropay", &order("T2", "1", &private)).await;
    post(rig.address, call, &order("T3", "1", &[("appid", "wxother"), ("openid", "oPAYER")])).await;
    post(rig.address, call, &signed("T4", "1", &private, (STRANGER, Algorithm::Md5))).await;
    post(rig.address, call, &order("T4", "1", &[("mch_id", "FORGED_MERCHANT")])).await;
    rig.ledger.set(Mood::Away);
    post(rig.address, call, &order("T5", "1", &private)).await;
    let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
    for word in [
        "T1 is registered with another total_fee",
        "bad_signature",
        "unknown_merchant",
        "T5 forwarded",
        "wxother",
    ] {
        assert!(text.contains(word), "the log says nothing of {word}:\n{text}");
    }
    for (what, word) in [
        ("the payer", "oPAYER"),
        ("the payer's code", "134567890123456789"),
        ("a field", "PRIVATE_ATTACH"),
        ("the answer", "ANSWER_OF_WECHAT"),
        ("the query", "IN_THE_QUERY"),
        ("a stranger's text", "FORGED_MERCHANT"),
        ("the key", KEY),
        ("the previous key", PREVIOUS),
    ] {
        assert!(!text.contains(word), "{what} is in the log:\n{text}");
    }
    let shown = format!("{:?}", rig.proxy);
    assert!(!shown.contains(KEY) && !shown.contains("oPAYER"), "{shown}");
}
