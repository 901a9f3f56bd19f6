//! Fills the ledger as a day would have: each order is taken, decided, committed with its event, and cleared.

use std::{
    path::Path,
    rc::Rc,
    sync::Arc,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use ::embedded::{Engine, EngineConfig, SystemClock};
use paybell_core::{
    AppId, Cadence, Check, Currency, Decision, Fen, LeaseToken, Look, Memory, Mode, OpenidPolicy, OrderKey,
    Policy, TransactionId, Unregistered, decide,
    decide::Closing,
    ids::MchId,
    lease::{Commit, Committed, LeaseRequest, Taken},
    observation::{Answer, Observation, Payment},
    ports::Ledger,
    time::Millis,
};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::Instant,
};

use super::{
    Args,
    bill::{Row, numbers, paid_at},
};
use crate::{
    bench::{APP_ID, MCH_ID, float, notifications::TOTAL_FEE, per_second, report::Report},
    error::Error,
    output,
};

const LEASE: Millis = Millis::seconds(30);

pub async fn open(data_dir: &Path) -> Result<Engine, Error> {
    let config = EngineConfig::in_dir(data_dir);
    let opened = spawn_blocking(move || Engine::open(config, Arc::new(SystemClock::default()))).await;
    let opened = opened.map_err(|error| Error::Failed(format!("opening the engine broke off: {error}")))?;
    opened.map_err(|error| Error::Failed(error.to_string()))
}

pub async fn fill(report: &mut Report, data_dir: &Path, args: &Args) -> Result<(), Error> {
    output::remark(&format!("filling the ledger with the payments of {} rows", args.rows));
    let engine = open(data_dir).await?;
    let (begun, next) = (Instant::now(), Rc::new(AtomicU32::new(0)));
    let mut storing = JoinSet::new();
    for _ in 0..args.in_flight {
        let (engine, next, rows) = (engine.clone(), next.clone(), args.rows);
        storing.spawn_local(async move {
            loop {
                let serial = next.fetch_add(1, Relaxed);
                if serial >= rows {
                    return Ok::<_, Error>(());
                }
                if Row::of(serial) == Row::Payment {
                    store(&engine, serial, rows).await?;
                }
            }
        });
    }
    while let Some(ended) = storing.join_next().await {
        ended.map_err(|error| Error::Failed(format!("a task ended: {error}")))??;
    }
    report.figure("fill.rows_per_second", per_second(u64::from(args.rows), begun.elapsed()), "rows/s");
    engine.close().await;
    let file = std::fs::metadata(data_dir.join("paybell.db"));
    report.figure("ledger_file_mb", float(file.map_or(0, |file| file.len()) / 1024) / 1024.0, "MB");
    Ok(())
}

/// The whole way of one payment through the ledger.
async fn store(engine: &Engine, serial: u32, rows: u32) -> Result<(), Error> {
    let wrong = |what: &str| Error::Failed(format!("order {serial}: {what}"));
    let port = |error: paybell_core::ports::PortError| Error::Failed(error.to_string());
    let (number, id) = numbers(serial);
    let key = OrderKey::new(MCH_ID, number).map_err(|error| wrong(&error.to_string()))?;
    let id = TransactionId::new(id).map_err(|error| wrong(&error.to_string()))?;
    let check = Check::notified(key.clone(), Some(id.clone()));
    let token = LeaseToken(u128::from(serial) + 1);
    let request = LeaseRequest {
        check: check.clone(),
        token,
        length: LEASE,
        given_up: None,
        lost_delays: [Millis::seconds(2); 7],
    };
    let Taken::Leased(record) = engine.take(&request).await.map_err(port)? else {
        return Err(wrong("not leased"));
    };
    let policy = Policy {
        mode: Mode::Live,
        cadence: Cadence::wechat(),
        unregistered: Unregistered::Emit,
        close_unpaid: false,
        openid: OpenidPolicy::Omit,
        // The bill's day is long ago when this is read.
        retention: Millis(i64::MAX),
    };
    let look = Look {
        check: &check,
        policy: &policy,
        now: engine.clock().await.map_err(port)?.now,
        is_clock_steady: true,
        retry_delay: Millis::seconds(2),
        closing: Closing::NotTried,
        first_paid: None,
        memory: Memory::default(),
    };
    let answer = Answer::Observed(Observation::Payment(Box::new(payment(serial, rows, id)?)));
    let Decision::Commit(change) = decide(&record, &answer, &look) else {
        return Err(wrong("nothing was decided"));
    };
    let commit = Commit { key: key.clone(), token, facts: record.facts, change: *change };
    match engine.commit(&commit).await.map_err(port)? {
        Committed::Outgoing => {}
        other => return Err(wrong(&format!("{other:?} instead of outgoing"))),
    }
    engine.clear(&key, token).await.map_err(port)?;
    Ok(())
}

fn payment(serial: u32, rows: u32, transaction_id: TransactionId) -> Result<Payment, Error> {
    let fee = i64::try_from(TOTAL_FEE).ok().and_then(|fee| Fen::new(fee).ok());
    let fee = fee.ok_or_else(|| Error::Failed("the fee is out of bounds".to_owned()))?;
    Ok(Payment {
        refunded: Row::is_refunded(serial),
        appid: AppId::new(APP_ID).ok(),
        sub_mch_id: None::<MchId>,
        transaction_id: Some(transaction_id),
        total_fee: Some(fee),
        fee_type: Currency::CNY,
        cash_fee: Some(fee),
        settlement_total_fee: None,
        coupon_fee: None,
        coupons: Vec::new(),
        trade_type: Some("JSAPI".to_owned()),
        bank_type: Some("OTHERS".to_owned()),
        attach: Some("order=77,src=web".to_owned()),
        paid_at: Some(paid_at(serial, rows)),
        openid: None,
    })
}
