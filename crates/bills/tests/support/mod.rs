//! What the tests share: a clock that they set, an engine in a temporary folder, a written bill, and a WeChat whose
//! bills are a function.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bills::book::{Opening, State};
use bills::{BillMetrics, BillSource, Bills, Company, Desk, Fetched, Folder, Merchant, Ports, Timing, Wants};
use embedded::{Engine, EngineConfig, WallClock};
use flate2::{Compression, write::GzEncoder};
use paybell_core::ports::{CheckSource, EventFilter, EventLog, LogRead, Notes};
use paybell_core::time::Millis;
use paybell_core::{Check, Day, Event, Lane, MchId, Mode, ModeKeeper, Timestamp};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wechat_pay::bill::BillRefusal;

pub const MCH: &str = "1900000109";
/// The longest that anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);
const HEADER: &str = "\u{feff}交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注\r\n";

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(&format!("{text}+08:00")).unwrap()
}

pub fn day(text: &str) -> Day {
    Day::parse(text).unwrap()
}

pub fn mch_id() -> MchId {
    MchId::new(MCH).unwrap()
}

/// Shows what a test sets; its other side stands still with it.
pub struct SetClock(AtomicI64);

impl WallClock for SetClock {
    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.load(Ordering::Relaxed)).unwrap())
    }
}

/// A bill with these payments, each over 19.99, paid at noon.
pub fn bill(day: &str, numbers: &[String]) -> Vec<u8> {
    let mut text = HEADER.to_owned();
    for (row, number) in numbers.iter().enumerate() {
        text.push_str(&format!(
            "`{day} 12:{:02}:{:02},`wx8888888888888888,`{MCH},`0,`,`4200001234{row:018},`{number},`o1,`JSAPI,`SUCCESS,\
             `OTHERS,`CNY,`19.99,`0.00,`0,`0,`0.00,`0.00,`,`,`Tea, green,`,`0.12000,`0.60%,`19.99,`0.00,`\r\n",
            row / 60 % 60,
            row % 60,
        ));
    }
    let (count, fen) = (numbers.len(), 1999 * numbers.len());
    let yuan = format!("{}.{:02}", fen / 100, fen % 100);
    let fees = format!("{}.{:02}000", 12 * count / 100, 12 * count % 100);
    text.push_str(&format!(
        "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额\r\n\
         `{count},`{yuan},`0.00,`0.00,`{fees},`{yuan},`0.00\r\n"
    ));
    packed(text.as_bytes())
}

pub fn packed(text: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

pub fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("T{number:06}")).collect()
}

/// What WeChat says to a call for a bill.
pub enum Says {
    Bill(Vec<u8>),
    NoBill,
    /// The answer never ends.
    Nothing,
}

type Saying = dyn FnMut(Day) -> Says + Send;

/// A WeChat whose bills are a function.
pub struct Scripted(Mutex<Box<Saying>>);

impl Scripted {
    pub fn new(saying: impl FnMut(Day) -> Says + Send + 'static) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Box::new(saying))))
    }
}

#[async_trait]
impl BillSource for Scripted {
    async fn fetch(&self, _: &MchId, day: Day, path: &Path) -> Fetched {
        let says = (self.0.lock().unwrap())(day);
        match says {
            Says::Bill(bytes) => {
                std::fs::write(path, bytes).unwrap();
                Fetched::Written
            }
            Says::NoBill => {
                let body = "<xml><return_code>FAIL</return_code><return_msg>No Bill Exist</return_msg></xml>";
                Fetched::Refused(BillRefusal::parse(body.as_bytes()))
            }
            Says::Nothing => std::future::pending().await,
        }
    }
}

/// A store of its own; gone when dropped.
pub struct Place {
    pub engine: Engine,
    clock: Arc<SetClock>,
    dir: tempfile::TempDir,
}

impl Place {
    pub fn open(now: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SetClock(AtomicI64::new(at(now).millis())));
        let config = EngineConfig::in_dir(dir.path().join("data"));
        Self { engine: Engine::open(config, clock.clone()).unwrap(), clock, dir }
    }

    pub fn set(&self, now: &str) {
        self.clock.0.store(at(now).millis(), Ordering::Relaxed);
    }

    pub fn ports(&self) -> Ports {
        let engine = Arc::new(self.engine.clone());
        Ports {
            notes: engine.clone(),
            records: engine.clone(),
            ledger: engine.clone(),
            queue: engine.clone(),
            log: engine,
        }
    }

    pub fn folder(&self) -> Folder {
        Folder::open(&self.dir.path().join("bills")).unwrap()
    }

    pub fn desk(&self) -> Desk {
        let engine = Arc::new(self.engine.clone());
        Desk { notes: engine.clone(), ledger: engine, folder: Some(self.folder()), by: None }
    }

    pub fn bills(&self, source: Arc<dyn BillSource>) -> Bills {
        Bills {
            ports: self.ports(),
            source,
            folder: self.folder(),
            merchants: Arc::new(|| vec![merchant()]),
            wants: Wants {
                opening: Opening { after: Millis::seconds(10 * 3600), by_itself: true },
                retention: Millis::seconds(35 * 86_400),
            },
            modes: Arc::new(ModeKeeper::fixed(Mode::Live)),
            timing: Timing {
                pace: Duration::from_millis(10),
                renewal: Duration::from_millis(20),
                ..Timing::default()
            },
            company: Company::Alone,
            me: None,
            metrics: BillMetrics::register(&mut Registry::default(), [MCH]),
        }
    }

    /// The day, once it is in that state and nobody works on it.
    pub async fn day_in(&self, day: Day, state: State) -> Value {
        self.day_when(day, |seen| seen["state"] == state.as_str() && seen["progress"].is_null()).await
    }

    pub async fn day_when(&self, day: Day, fits: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Value::Null;
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                seen = self.desk().read(&mch_id(), day).await.unwrap().unwrap_or_default();
                if fits(&seen) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "{seen:#}");
        seen
    }

    /// Waits until the merchant was met: from then on it is ours.
    pub async fn met(&self) {
        let name = format!("bills/{MCH}");
        let waited = tokio::time::timeout(PATIENCE, async {
            while Notes::read(&self.engine, &name).await.unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.expect("somebody turns the books");
    }

    pub async fn events(&self) -> Vec<Event> {
        let LogRead::Page(page) =
            EventLog::read(&self.engine, None, &EventFilter::default(), 100).await.unwrap()
        else {
            panic!("a log that is read from its beginning is never gone");
        };
        page.events.into_iter().map(|(_, event)| event).collect()
    }

    /// Takes checks out of the queue until `count` are there.
    pub async fn checks(&self, count: usize) -> Vec<Check> {
        let mut checks = Vec::new();
        while checks.len() < count {
            let received = tokio::time::timeout(PATIENCE, self.engine.receive(Lane::Urgent, 100));
            for delivery in received.await.expect("the checks come").unwrap() {
                checks.push(delivery.check.clone());
                delivery.done().await.unwrap();
            }
        }
        checks
    }

    pub async fn backlog(&self) -> u64 {
        paybell_core::ports::CheckQueue::backlog(&self.engine, Lane::Urgent).await.unwrap()
    }
}

pub fn merchant() -> Merchant {
    let (app_ids, sub_mch_ids) = (vec!["wx8888888888888888".to_owned()], Vec::new());
    Merchant { mch_id: mch_id(), active_since: None, app_ids, sub_mch_ids, pattern: None }
}

/// A running process; dropping it is a crash.
pub struct Process {
    drain: CancellationToken,
    task: JoinHandle<()>,
}

impl Process {
    pub fn start(bills: Bills) -> Self {
        let drain = CancellationToken::new();
        let task = tokio::spawn(bills::run(Arc::new(bills), drain.clone()));
        Self { drain, task }
    }

    pub async fn drain(mut self) {
        self.drain.cancel();
        tokio::time::timeout(PATIENCE, &mut self.task).await.expect("it ends").unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}
