//! Tells merchants how a refund ended: encrypted and without a sign, on the cadence of payments, with faults of its own.
//! One task per ended refund that has an address; `poster` does the posting.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use aes::{
    Aes256,
    cipher::{BlockModeEncrypt, KeyInit, block_padding::Pkcs7},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::time::sleep;
use wechat_pay::{refund_notification::aes_key, sign::ApiKey};

use crate::{
    clock,
    faults::Fault,
    notifier::{CADENCE_S, XML},
    order::{Order, OrderKey},
    poster::{Kind, Outcome, Post},
    refund::{Refund, RefundState},
    wire::Fields,
    world::World,
};

const BLOCK_BYTES: usize = 16;

/// Starts the notifications of a refund that ended.
pub(crate) fn announce(world: &Arc<World>, order: Arc<Order>, refund: Arc<Refund>) {
    let Some(url) = refund.notify_url.clone() else { return };
    let drawn = OrderKey { mch_id: order.key.mch_id.clone(), out_trade_no: refund.out_refund_no.clone() };
    let campaign = Campaign { world: world.clone(), order, refund, url, drawn };
    world.spawn(async move {
        let stop = campaign.world.stop.clone();
        // Whoever stops the simulator wants no more notifications.
        let _ = stop.run_until_cancelled(campaign.run()).await;
    });
}

struct Campaign {
    world: Arc<World>,
    order: Arc<Order>,
    refund: Arc<Refund>,
    url: String,
    /// What faults are drawn by: the refund's number in place of the order's.
    drawn: OrderKey,
}

impl Campaign {
    async fn run(&self) {
        if self.strikes(Fault::RefundNotificationLost, 0) {
            return self.remember(
                Kind::Genuine,
                (0, Some(Fault::RefundNotificationLost)),
                (Outcome::Lost, 0),
            );
        }
        if self.strikes(Fault::RefundLate, 0) {
            sleep(Duration::from_millis(self.world.faults().refund_late_ms)).await;
        }
        let mut began = self.world.clock.now();
        for (attempt, wait_s) in (0..).zip([0].into_iter().chain(CADENCE_S)) {
            self.world.clock.sleep_until(began + Duration::from_secs(wait_s)).await;
            began = self.world.clock.now();
            if self.strikes(Fault::RefundAttemptLost, attempt) {
                let lost = (attempt, Some(Fault::RefundAttemptLost));
                self.remember(Kind::Genuine, lost, (Outcome::Lost, 0));
                continue;
            }
            for (fault, kind) in [(Fault::RefundGarbage, Kind::Garbage), (Fault::RefundForged, Kind::Forged)]
            {
                if self.strikes(fault, attempt) {
                    self.send(kind, (attempt, Some(fault))).await;
                }
            }
            if self.send(Kind::Genuine, (attempt, None)).await {
                return self.send_duplicates(attempt).await;
            }
        }
        self.world.counters.notifications_exhausted.add_one();
    }

    async fn send_duplicates(&self, attempt: u32) {
        if self.strikes(Fault::RefundDuplicate, 0) {
            for _ in 0..self.world.faults().refund_duplicate_copies.max(1) {
                self.world.clock.sleep_s(1).await;
                self.send(Kind::Genuine, (attempt, Some(Fault::RefundDuplicate))).await;
            }
        }
    }

    /// Posts, counts and remembers. True if it was acknowledged.
    async fn send(&self, kind: Kind, at: (u32, Option<Fault>)) -> bool {
        let Some(body) = self.write(kind) else { return false };
        let (outcome, took_ms) = self.world.notifier.poster.post(&self.url, XML, body).await;
        let acknowledged = outcome == Outcome::Acknowledged;
        let (counters, traffic) = (&self.world.counters, &self.refund.traffic);
        if kind == Kind::Genuine {
            counters.refund_notifications_sent.add_one();
            traffic.notifications_sent.fetch_add(1, Relaxed);
        } else {
            counters.forgeries_sent.add_one();
        }
        match (kind, acknowledged) {
            (_, false) => {}
            (Kind::Genuine, true) => {
                counters.refund_notifications_acknowledged.add_one();
                traffic.notifications_acknowledged.fetch_add(1, Relaxed);
            }
            (_, true) => counters.forgeries_acknowledged.add_one(),
        }
        self.remember(kind, at, (outcome, took_ms));
        acknowledged
    }

    fn remember(
        &self,
        kind: Kind,
        (attempt, fault): (u32, Option<Fault>),
        (outcome, took_ms): (Outcome, u64),
    ) {
        self.world.notifier.poster.remember(Post {
            at_ms: self.world.clock.wall_ms(),
            order: Some(self.order.key.clone()),
            out_refund_no: Some(self.refund.out_refund_no.clone()),
            kind,
            attempt,
            fault: fault.map(Fault::name),
            outcome,
            took_ms,
        });
    }

    /// The document; none if the merchant or the payment is gone.
    fn write(&self, kind: Kind) -> Option<String> {
        let (order, refund) = (&*self.order, &*self.refund);
        let merchant = self.world.merchant(&order.key.mch_id)?;
        let info = content(order, refund)?.to_xml_root("root");
        let sealed = match kind {
            Kind::Forged => seal(&info, &self.world.foreign_key),
            Kind::Garbage => STANDARD.encode(self.world.nonce()),
            _ => seal(&info, &merchant.key),
        };
        let mut fields = Fields::new();
        fields.put("return_code", "SUCCESS");
        fields.put("appid", &*order.appid);
        fields.put("mch_id", &*order.key.mch_id);
        fields.put_some("sub_appid", order.sub_appid.as_deref());
        fields.put_some("sub_mch_id", order.sub_mch_id.as_deref());
        fields.put("nonce_str", self.world.nonce());
        fields.put("req_info", sealed);
        Some(fields.to_xml())
    }

    fn strikes(&self, fault: Fault, attempt: u32) -> bool {
        self.world.strikes(fault, &self.drawn, u64::from(attempt))
    }
}

fn content<'a>(order: &'a Order, refund: &'a Refund) -> Option<Fields<'a>> {
    let paid = order.paid.as_ref()?;
    let mut fields = Fields::new();
    fields.put("out_refund_no", &*refund.out_refund_no);
    fields.put("out_trade_no", &*order.key.out_trade_no);
    fields.put("refund_account", refund.account.as_str());
    fields.put("refund_fee", refund.refund_fee.to_string());
    fields.put("refund_id", &*refund.refund_id);
    fields.put("refund_recv_accout", refund.receiver(&paid.bank_type));
    fields.put("refund_request_source", refund.source);
    fields.put("refund_status", refund.state.as_str());
    fields.put("settlement_refund_fee", refund.settlement_fee().to_string());
    fields.put("settlement_total_fee", order.total_fee.saturating_sub(paid.not_prepaid_fee()).to_string());
    if let (RefundState::Success, Some(ended_ms)) = (refund.state, refund.ended_ms) {
        fields.put("success_time", clock::spaced(ended_ms));
    }
    fields.put("total_fee", order.total_fee.to_string());
    fields.put("transaction_id", &*paid.transaction_id);
    Some(fields)
}

/// AES-256-ECB with PKCS#7 and a key made from the API key, in base64.
fn seal(text: &str, key: &ApiKey) -> String {
    let mut buffer = text.as_bytes().to_vec();
    buffer.resize(text.len() + BLOCK_BYTES, 0);
    let encryptor = ecb::Encryptor::<Aes256>::new(&(*aes_key(key)).into());
    let sealed = encryptor.encrypt_padded::<Pkcs7>(&mut buffer, text.len());
    STANDARD.encode(sealed.expect("there is room for a whole block of padding"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published key and text, sealed by another program.
    #[test]
    fn the_known_text_gives_the_known_cipher() {
        let key = ApiKey::new("192006250b4c09247ec02edce69f6a2d").unwrap();
        let text = "<root><refund_id>50000000000000000000000000001</refund_id><refund_status>SUCCESS</refund_status></root>";
        let sealed = "4fMiDl0PUR5HfKwMuCzpjv+2p0s9vA7fi944ZhMPA6bx0DgX4FANoGt1QTrGu7O6Euglzz5KBhXR863HDyg5DFpBRWxn66ghh6l39FJEuLBxrARd++rUsjkM8nlob9pI2aE11oitOwkP3LMSrYnx1A==";
        assert_eq!(seal(text, &key), sealed);
    }
}
