//! WeChat's rules for refunds: whether one is taken, what becomes of the coupons, and how it ends on the simulator's
//! clock. Speaks no HTTP; the refund endpoint and the control API call it, and it hands ended refunds to their notifier.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    book::Refunded,
    clock,
    error::Error,
    faults::{Fault, hash},
    order::{Coupon, Order, OrderKey, Paid, TradeState},
    refund::{Account, NewRefund, Refund, RefundKey, RefundState, RefundTraffic},
    refund_notifier,
    settings::Funds,
    wire::Refusal,
    world::World,
};

/// A payment older than this cannot be refunded.
const REFUNDABLE_DAYS: i64 = 365;

const TRADE_STATE: Refusal = Refusal::Business { code: "TRADE_STATE_ERROR", text: "订单状态错误" };
const MISMATCH: Refusal = Refusal::Business {
    code: "REFUND_FEE_MISMATCH",
    text: "订单金额或退款金额与之前请求不一致，请核实后再试",
};
const ALL_REFUNDED: Refusal = Refusal::Business { code: "ERROR", text: "订单已全额退款" };
const TOO_MUCH: Refusal = Refusal::Business { code: "INVALID_REQUEST", text: "refund_fee大于可退金额" };
const TOO_MANY: Refusal = Refusal::Business { code: "ERROR", text: "订单退款次数超过限制" };
const TOO_OFTEN: Refusal = Refusal::Business {
    code: "INVALID_REQ_TOO_MUCH",
    text: "无效请求过多，请间隔一分钟后重试",
};
const OVERDUE: Refusal = Refusal::Business { code: "TRADE_OVERDUE", text: "订单已经超过退款期限" };
const UNSETTLED_SHORT: Refusal = Refusal::Business {
    code: "NOTENOUGH",
    text: "交易未结算资金不足，请使用可用余额退款",
};
const BALANCE_SHORT: Refusal =
    Refusal::Business { code: "NOTENOUGH", text: "基本账户余额不足，请充值后重新发起" };

/// What a refund is asked for with.
pub(crate) struct Wish {
    pub(crate) out_refund_no: String,
    /// The order's amount, as the asker believes it.
    pub(crate) total_fee: u64,
    pub(crate) refund_fee: u64,
    pub(crate) account: Account,
    pub(crate) notify_url: Option<String>,
    /// `API` or `VENDOR_PLATFORM`.
    pub(crate) source: &'static str,
}

impl World {
    /// Takes a refund, or finds it under its number. It then ends by itself.
    pub(crate) fn ask_refund(self: &Arc<Self>, key: &OrderKey, wish: Wish) -> Result<Refunded, Error> {
        let out_refund_no = wish.out_refund_no.clone();
        let name = RefundKey { mch_id: key.mch_id.clone(), out_refund_no: out_refund_no.clone() };
        if self.book.order_of_refund(&name).is_some_and(|of| of != *key) {
            return Err(MISMATCH.into());
        }
        let mut is_new = false;
        let (account, refund_fee) = (wish.account, wish.refund_fee);
        let changed = self.book.change(key, |order| {
            if let Some(known) = order.refund(&wish.out_refund_no) {
                known.traffic.requests.fetch_add(1, Relaxed);
                let same = (known.refund_fee, order.total_fee) == (wish.refund_fee, wish.total_fee);
                return if same { Ok(()) } else { Err(MISMATCH.into()) };
            }
            order.refunds.push(Arc::new(self.judge(order, wish)?));
            order.state = TradeState::Refund;
            is_new = true;
            Ok(())
        });
        if is_new && changed.is_err() {
            // Another order's refund took the number in this moment.
            self.give_back(&key.mch_id, account, refund_fee);
        }
        let order = changed?;
        let refund = order.refund(&out_refund_no).cloned().ok_or(Error::UnknownRefund(out_refund_no))?;
        if is_new {
            self.counters.refunds.add_one();
            self.end_in_time(key.clone(), refund.clone());
        }
        Ok((order, refund))
    }

    /// As a person in the merchant platform would, without a signed request.
    pub(crate) fn refund(self: &Arc<Self>, key: &OrderKey, new: NewRefund) -> Result<Refunded, Error> {
        let order = self.order(key)?;
        let NewRefund { refund_fee, out_refund_no, notify_url, state } = new;
        if !order.state.is_paid() {
            return Err(Error::NotPaid);
        }
        let left = order.refundable_fee();
        if refund_fee == 0 || refund_fee > left {
            return Err(Error::RefundAmount { left });
        }
        let made_up = || format!("{}R{}", key.out_trade_no, order.refunds.len() + 1);
        let wish = Wish {
            out_refund_no: out_refund_no.unwrap_or_else(made_up),
            total_fee: order.total_fee,
            refund_fee,
            account: Account::Unsettled,
            notify_url,
            source: "VENDOR_PLATFORM",
        };
        let name = RefundKey { mch_id: key.mch_id.clone(), out_refund_no: wish.out_refund_no.clone() };
        let taken = self.ask_refund(key, wish)?;
        if state == RefundState::Processing { Ok(taken) } else { self.end_refund(&name, state) }
    }

    /// A refund by its name, with its order.
    pub(crate) fn refund_of(&self, name: &RefundKey) -> Result<Refunded, Error> {
        let unknown = || Error::UnknownRefund(name.out_refund_no.clone());
        let order = self.order(&self.book.order_of_refund(name).ok_or_else(unknown)?)?;
        let refund = order.refund(&name.out_refund_no).cloned().ok_or_else(unknown)?;
        Ok((order, refund))
    }

    /// Ends a refund, now and for good unless it is `CHANGE`, and has it announced.
    pub(crate) fn end_refund(
        self: &Arc<Self>,
        name: &RefundKey,
        state: RefundState,
    ) -> Result<Refunded, Error> {
        self.end_refund_from(&[RefundState::Processing, RefundState::Change], name, state)
    }

    fn end_refund_from(
        self: &Arc<Self>,
        from: &[RefundState],
        name: &RefundKey,
        state: RefundState,
    ) -> Result<Refunded, Error> {
        let unknown = || Error::UnknownRefund(name.out_refund_no.clone());
        let key = self.book.order_of_refund(name).ok_or_else(unknown)?;
        let order = self.book.change(&key, |order| {
            let place = order.refunds.iter_mut().find(|refund| refund.out_refund_no == name.out_refund_no);
            let place = place.ok_or_else(unknown)?;
            if !from.contains(&place.state) || state == place.state || state == RefundState::Processing {
                return Err(Error::RefundState(place.state, state));
            }
            let mut refund = Refund::clone(place);
            refund.state = state;
            refund.ended_ms = Some(self.clock.wall_ms());
            refund.since = Instant::now();
            if state == RefundState::RefundClose {
                self.give_back(&key.mch_id, refund.account, refund.refund_fee);
            }
            *place = Arc::new(refund);
            Ok(())
        })?;
        let refund = order.refund(&name.out_refund_no).cloned().ok_or_else(unknown)?;
        refund_notifier::announce(self, order.clone(), refund.clone());
        Ok((order, refund))
    }

    /// Whether the wish is granted; takes the money for it last.
    fn judge(&self, order: &Order, wish: Wish) -> Result<Refund, Refusal> {
        let paid = order.paid.as_ref().filter(|_| order.state.is_paid()).ok_or(TRADE_STATE)?;
        let settings = self.settings();
        let wall_ms = self.clock.wall_ms();
        if wall_ms - paid.wall_ms > REFUNDABLE_DAYS * clock::DAY_MS {
            return Err(OVERDUE);
        }
        if wish.total_fee != order.total_fee {
            return Err(MISMATCH);
        }
        match order.refundable_fee() {
            0 => return Err(ALL_REFUNDED),
            left if wish.refund_fee > left => return Err(TOO_MUCH),
            _ => {}
        }
        if order.refunds.len() >= settings.refunds_per_order_max {
            return Err(TOO_MANY);
        }
        let interval = Duration::from_secs(settings.refund_interval_s);
        let too_soon = |last: &Arc<Refund>| self.clock.now() < last.requested + interval;
        if wish.source == "API" && order.refunds.last().is_some_and(too_soon) {
            return Err(TOO_OFTEN);
        }
        self.take_funds(&order.key.mch_id, wish.account, wish.refund_fee)?;
        let refund_key =
            OrderKey { mch_id: order.key.mch_id.clone(), out_trade_no: wish.out_refund_no.clone() };
        Ok(Refund {
            refund_id: refund_id(&refund_key, wall_ms),
            coupons: coupon_shares(order, paid, wish.refund_fee),
            out_refund_no: wish.out_refund_no,
            refund_fee: wish.refund_fee,
            account: wish.account,
            source: wish.source,
            notify_url: wish
                .notify_url
                .or_else(|| settings.refund_notify_urls.get(&order.key.mch_id).cloned()),
            state: RefundState::Processing,
            requested_ms: wall_ms,
            requested: self.clock.now(),
            ended_ms: None,
            since: Instant::now(),
            traffic: Arc::new(RefundTraffic { requests: 1.into(), ..RefundTraffic::default() }),
        })
    }

    /// After the delay, unless somebody ended it before.
    fn end_in_time(self: &Arc<Self>, key: OrderKey, refund: Arc<Refund>) {
        let world = self.clone();
        let due = refund.requested.saturating_add(Duration::from_secs(self.settings().refund_delay_s));
        self.spawn(async move {
            if world.stop.run_until_cancelled(world.clock.sleep_until(due)).await.is_none() {
                return;
            }
            let name = RefundKey { mch_id: key.mch_id, out_refund_no: refund.out_refund_no.clone() };
            let drawn = OrderKey { mch_id: name.mch_id.clone(), out_trade_no: name.out_refund_no.clone() };
            let state = if world.strikes(Fault::RefundChange, &drawn, 0) {
                RefundState::Change
            } else if world.strikes(Fault::RefundClosed, &drawn, 0) {
                RefundState::RefundClose
            } else {
                RefundState::Success
            };
            // It may have been ended by hand, or its order forgotten.
            let _ = world.end_refund_from(&[RefundState::Processing], &name, state);
        });
    }

    fn take_funds(&self, mch_id: &str, account: Account, fee: u64) -> Result<(), Refusal> {
        self.with_funds(mch_id, |funds| {
            let (balance, refusal) = purse(funds, account);
            match balance.as_mut() {
                None => Ok(()),
                Some(left) if *left >= fee => {
                    *left -= fee;
                    Ok(())
                }
                Some(_) => Err(refusal),
            }
        })
    }

    fn give_back(&self, mch_id: &str, account: Account, fee: u64) {
        self.with_funds(mch_id, |funds| {
            if let (Some(left), _) = purse(funds, account) {
                *left += fee;
            }
        });
    }
}

fn purse(funds: &mut Funds, account: Account) -> (&mut Option<u64>, Refusal) {
    match account {
        Account::Unsettled => (&mut funds.unsettled_fee, UNSETTLED_SHORT),
        Account::Recharge => (&mut funds.recharge_fee, BALANCE_SHORT),
    }
}

/// The part of each coupon that goes back: in proportion, and all of it with the last fen of the order.
fn coupon_shares(order: &Order, paid: &Paid, refund_fee: u64) -> Vec<Coupon> {
    let back = order.total_fee.saturating_sub(order.refundable_fee()).saturating_add(refund_fee);
    let share = |coupon: &Coupon| {
        let before = order.refunds.iter().filter(|refund| refund.holds_money());
        let already: u64 =
            before.flat_map(|refund| &refund.coupons).filter(|of| of.id == coupon.id).map(|of| of.fee).sum();
        let in_all = u128::from(coupon.fee) * u128::from(back) / u128::from(order.total_fee.max(1));
        let fee = u64::try_from(in_all).unwrap_or(u64::MAX).saturating_sub(already);
        Coupon { fee: fee.min(refund_fee), ..coupon.clone() }
    };
    paid.coupons.iter().map(share).filter(|coupon| coupon.fee > 0).collect()
}

/// 29 digits like WeChat's: a mark, a number, the day, a number.
fn refund_id(key: &OrderKey, wall_ms: i64) -> String {
    let day: String = clock::compact(wall_ms).chars().take(8).collect();
    format!("503{:08}{day}{:010}", hash(&[4], key) % 100_000_000, hash(&[5], key) % 10_000_000_000)
}
