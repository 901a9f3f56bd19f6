//! One seed's day: which orders, which payers, which faults, which processes.

mod draws;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ingress::{Ingress, IngressMetrics, KeyUsed, Merchant, Merchants};
use paybell_core::cadence::Cadence;
use paybell_core::ports::CheckSource;
use paybell_core::time::Millis;
use paybell_core::{BusinessNo, Lane, MchId, Mode, OpenidPolicy, OrderKey, Policy, Unregistered};
use prometheus_client::registry::Registry;
use scheduler::{Scheduler, SchedulerMetrics};
use wechat_pay::sign::{AcceptedAlgorithm, ApiKey};
use worker::{Policies, Settled, Worker, WorkerMetrics, WorkerParts};

use self::draws::Refunded;
use super::Day;
use super::executor::{Process, Sim};
use super::mutation::Mutation;
use super::ports::{Weather, World};
use super::shop::{Notifying, Shop};
use super::store::Store;
use super::trace::Trace;
use super::wechat::{APPID, KEY, Paid, SimWechat, Truth};
use crate::conformance::absent;

/// 2026-11-20 12:00:00 +08:00.
pub const START_MS: i64 = 1_795_147_200_000;
pub const MCH_ID: &str = "1900000109";
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const CADENCE_MS: i64 = 86_640_000;

/// The promise is judged this long after the last fault.
const QUIET_MS: i64 = 9 * HOUR_MS;

/// A day in the making.
pub struct Scenario {
    world: World,
    shop: Shop,
    policies: Arc<Policies>,
    crashes: u32,
    last_fault_ms: i64,
    clock_off_max_ms: i64,
}

/// A day that is over, with everything the oracle wants to know.
pub struct Played {
    pub world: World,
    pub shop: Shop,
    pub last_fault_ms: i64,
    pub clock_off_max_ms: i64,
    crashes: u32,
    steps: u64,
}

impl Scenario {
    pub fn of(seed: u64, mutation: Option<Mutation>) -> Self {
        let sim = Sim::new(seed, START_MS);
        let store = Store::new(mutation);
        let world = World {
            sim: sim.clone(),
            store: Arc::new(Mutex::new(store)),
            weather: Arc::default(),
            trace: Trace::starting(START_MS),
            mutation,
            hungry: Arc::default(),
            sleepy: Arc::default(),
            port_failures: Arc::default(),
        };
        let shop = Shop {
            wechat: SimWechat::new(world.clone()),
            ingress: Arc::new(ingress_over(&world)),
            told: Arc::default(),
            world: world.clone(),
        };
        let policies = Arc::new(policies_of(&sim));
        let mut scenario =
            Self { world, shop, policies, crashes: 0, last_fault_ms: START_MS, clock_off_max_ms: 0 };
        scenario.draw_faults();
        for nth in 0..sim.pick(2..=6) {
            scenario.draw_order(nth);
        }
        scenario
    }

    /// Runs the day to its end.
    pub fn play(self) -> Played {
        for process in [Process::Worker(0), Process::Worker(1), Process::Scheduler] {
            self.start(process);
        }
        let window_ms = START_MS + CADENCE_MS + 6 * HOUR_MS;
        let steps = self.world.sim.run(window_ms.max(self.last_fault_ms) + QUIET_MS);
        Played {
            last_fault_ms: self.last_fault_ms,
            clock_off_max_ms: self.clock_off_max_ms,
            crashes: self.crashes,
            steps,
            world: self.world,
            shop: self.shop,
        }
    }

    fn draw_faults(&mut self) {
        let sim = self.world.sim.clone();
        let bad = |worst: f64| f64::from(i32::try_from(sim.pick(0..=10)).unwrap_or(0)) / 10.0 * worst;
        let weather = Weather {
            fail_before: bad(0.10),
            fail_after: bad(0.10),
            stall: bad(0.06),
            query_fails: bad(0.5),
            misjudged: bad(0.2),
        };
        let length_ms = match sim.pick(0..=3) {
            0 => 3 * MINUTE_MS,
            1 => 40 * MINUTE_MS,
            2 => 5 * HOUR_MS,
            _ => 27 * HOUR_MS,
        };
        *self.world.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
        let end_ms = START_MS + length_ms;
        let world = self.world.clone();
        sim.spawn(Process::World, async move {
            world.sim.pause(end_ms - world.sim.now_ms()).await;
            *world.weather.lock().unwrap_or_else(PoisonError::into_inner) = Weather::default();
            world.note(|| "the weather clears".to_owned());
        });
        // A stall that began in bad weather may end after it.
        self.last_fault_ms = end_ms + 130_000;
        for _ in 0..sim.pick(0..=8) {
            self.draw_crash(length_ms);
        }
        if sim.chance(0.3) {
            self.draw_jump(length_ms);
        }
    }

    fn draw_crash(&mut self, length_ms: i64) {
        let sim = self.world.sim.clone();
        let process = match sim.pick(0..=4) {
            0 => Process::Ingress,
            1 | 2 => Process::Worker(0),
            3 => Process::Worker(1),
            _ => Process::Scheduler,
        };
        // Most of a day's work happens in its first minutes.
        let within_ms = if sim.chance(0.7) { length_ms.min(3 * MINUTE_MS) } else { length_ms };
        let at_ms = START_MS + sim.pick(0..=within_ms);
        let down_ms = sim.pick(100..=20_000);
        self.crashes += 1;
        self.last_fault_ms = self.last_fault_ms.max(at_ms + down_ms);
        let again = self.restarter();
        sim.clone().spawn(Process::World, async move {
            sim.pause(at_ms - sim.now_ms()).await;
            again.world.note(|| format!("{process:?} is killed"));
            sim.crash(process);
            sim.pause(down_ms).await;
            again.world.note(|| format!("{process:?} starts again"));
            again.start(process);
        });
    }

    /// The ledger's clock is off for a few minutes, half the time around the end of the orders' cadence.
    fn draw_jump(&mut self, length_ms: i64) {
        let sim = self.world.sim.clone();
        let off_ms = sim.pick(10_000..=20 * MINUTE_MS) * if sim.chance(0.7) { 1 } else { -1 };
        let at_ms = match sim.chance(0.5) {
            true => START_MS + CADENCE_MS - sim.pick(1_000..=15 * MINUTE_MS),
            false => START_MS + sim.pick(0..=length_ms),
        };
        let for_ms = sim.pick(1_000..=5 * MINUTE_MS);
        self.clock_off_max_ms = off_ms.abs();
        self.last_fault_ms = self.last_fault_ms.max(at_ms + for_ms);
        let world = self.world.clone();
        sim.clone().spawn(Process::World, async move {
            for (wait_ms, off_ms) in [(at_ms - sim.now_ms(), off_ms), (for_ms, 0)] {
                sim.pause(wait_ms).await;
                world.note(|| format!("the ledger's clock is off by {off_ms} ms"));
                let mut store = world.store();
                store.clock_off_ms = off_ms;
                store.unsteady_until_ms = sim.now_ms() + 10 * MINUTE_MS;
                drop(store);
                sim.wake(&world.sleepy);
            }
        });
    }

    fn draw_order(&mut self, nth: i64) {
        let sim = self.world.sim.clone();
        let key = OrderKey::new(MCH_ID, format!("T{nth}")).expect("a short number");
        let created_ms = START_MS + sim.pick(0..=20_000);
        let total_fee = sim.pick(1..=5) * 100;
        let paid = sim.chance(0.8).then(|| draw_payment(&sim, created_ms, nth));
        let closed_ms = (paid.is_none() && sim.chance(0.2)).then(|| created_ms + sim.pick(0..=HOUR_MS));
        let truth = Truth { created_ms, total_fee, fee_type: "CNY", paid: paid.clone(), closed_ms };
        self.shop.wechat.books().truths.insert(key.clone(), truth);
        if sim.chance(0.4) {
            let business_no = BusinessNo::new(format!("B{}", sim.pick(0..=1))).expect("a short number");
            self.shop.told().businesses.insert(key.clone(), business_no);
        }
        let paid_ms = paid.as_ref().map(|paid| paid.at_ms);
        if sim.chance(0.1) {
            // Nothing is told of it once it is registered so, and nobody refunds it.
            self.shop.told().strayed.insert(key.clone());
        } else if let Some(paid_ms) = paid_ms.filter(|_| sim.chance(0.5)) {
            let is_ghost = sim.chance(0.25);
            let order = Refunded { key: key.clone(), nth, paid_ms, total_fee, is_ghost };
            self.draw_refunds(&order);
            if is_ghost {
                self.draw_ghost(&key, paid_ms);
                return;
            }
        }
        if let Some(paid) = paid {
            let how = Notifying {
                is_lost: sim.chance(0.3),
                each_lost: if sim.chance(0.5) { 0.5 } else { 0.0 },
                copies: sim.pick(1..=4),
                delay_ms: if sim.chance(0.3) { sim.pick(0..=60_000) } else { 0 },
            };
            sim.spawn(Process::World, self.shop.clone().notify(key.clone(), paid.at_ms, how));
            self.draw_visits(&key, paid.at_ms);
        }
        if sim.chance(0.8) {
            let at_ms = match (sim.pick(0..=3), paid_ms) {
                (0, Some(paid_ms)) => paid_ms + sim.pick(0..=1_500),
                (1, _) => created_ms + sim.pick(0..=MINUTE_MS),
                _ => created_ms + sim.pick(0..=500),
            };
            let amount = if sim.chance(0.3) { total_fee + 1 } else { total_fee };
            sim.spawn(Process::World, self.shop.clone().register(key.clone(), at_ms, created_ms, amount));
        }
        if sim.chance(0.5) {
            let until_ms = START_MS + CADENCE_MS + 6 * HOUR_MS;
            sim.spawn(Process::World, self.shop.clone().accept(key.clone(), until_ms));
        }
        if sim.chance(0.3) {
            sim.spawn(Process::World, self.shop.clone().forge(key, created_ms + sim.pick(0..=30_000)));
        }
    }

    /// The payer comes back to the shop's page around the payment.
    fn draw_visits(&self, key: &OrderKey, paid_ms: i64) {
        let sim = &self.world.sim;
        for _ in 0..sim.pick(0..=3) {
            let at_ms = paid_ms + sim.pick(-1_000..=3_000);
            sim.spawn(Process::World, self.shop.clone().check(key.clone(), at_ms));
        }
    }

    fn restarter(&self) -> Restarter {
        Restarter {
            world: self.world.clone(),
            wechat: self.shop.wechat.clone(),
            policies: self.policies.clone(),
        }
    }

    fn start(&self, process: Process) {
        self.restarter().start(process);
    }
}

/// Starts processes, also again after a crash.
struct Restarter {
    world: World,
    wechat: SimWechat,
    policies: Arc<Policies>,
}

impl Restarter {
    fn start(&self, process: Process) {
        match process {
            Process::Worker(_) => self.start_worker(process),
            Process::Scheduler => self.start_scheduler(),
            // The ingress is started by each request.
            Process::Ingress | Process::World => {}
        }
    }

    fn start_worker(&self, process: Process) {
        let seed = [u8::try_from(self.world.sim.pick(0..=255)).unwrap_or(0); 32];
        let parts = WorkerParts {
            ledger: Arc::new(self.world.clone()),
            log: Arc::new(self.world.clone()),
            businesses: Arc::new(self.world.clone()),
            // Every record of a simulation can be read.
            dead: absent().dead,
            wechat: Arc::new(self.wechat.clone()),
            policies: self.policies.clone(),
            metrics: WorkerMetrics::register(&mut Registry::default(), [MCH_ID], &KeyUsed::default()),
            seed,
        };
        let worker = Arc::new(Worker::new(parts));
        for lane in [Lane::Urgent, Lane::Urgent, Lane::Cadence] {
            let (worker, world) = (worker.clone(), self.world.clone());
            self.world.sim.spawn(process, async move {
                loop {
                    let Ok(deliveries) = world.receive(lane, 1).await else { continue };
                    for delivery in deliveries {
                        if worker.handle(delivery).await == Settled::GivenBack {
                            world.sim.pause(world.sim.pick(200..=2_000)).await;
                        }
                    }
                }
            });
        }
    }

    fn start_scheduler(&self) {
        let ports = Arc::new(self.world.clone());
        let metrics = SchedulerMetrics::default();
        let scheduler = Scheduler::new(ports.clone(), ports, metrics);
        let world = self.world.clone();
        self.world.sim.spawn(Process::Scheduler, async move {
            loop {
                let wait_ms = {
                    let store = world.store();
                    let now = store.clock(world.sim.now_ms());
                    store.next_due().map_or(i64::from(i32::MAX), |due| due.since(now).0.max(0))
                };
                world.sim.wait(&world.sleepy, wait_ms).await;
                world.sim.pause(world.sim.pick(0..=100)).await;
                if scheduler.tick().await.is_err() {
                    world.sim.pause(world.sim.pick(200..=2_000)).await;
                }
            }
        });
    }
}

impl Played {
    pub fn summary(&self) -> Day {
        let (store, books) = (self.world.store(), self.shop.wechat.books());
        Day {
            orders: books.truths.len(),
            events: store.log.len(),
            crashes: self.crashes,
            port_failures: *self.world.port_failures.lock().unwrap_or_else(PoisonError::into_inner),
            queries: books.queries,
            refunds: books.refunds.taken.len(),
            steps: self.steps,
        }
    }

    pub fn take_trace(&mut self) -> Vec<String> {
        self.world.trace.lines()
    }
}

fn draw_payment(sim: &Sim, created_ms: i64, nth: i64) -> Paid {
    let after_ms = match sim.pick(0..=9) {
        0..=4 => sim.pick(1_000..=20_000),
        5 | 6 => sim.pick(MINUTE_MS..=20 * MINUTE_MS),
        7 => sim.pick(HOUR_MS..=20 * HOUR_MS),
        _ => CADENCE_MS + sim.pick(MINUTE_MS..=3 * HOUR_MS),
    };
    let at_ms = created_ms + after_ms;
    let lag_ms = if sim.chance(0.4) { sim.pick(0..=8_000) } else { 0 };
    let refund_after_ms = if sim.chance(0.3) { sim.pick(0..=20_000) } else { sim.pick(0..=2 * HOUR_MS) };
    Paid {
        at_ms,
        visible_ms: at_ms + lag_ms,
        transaction_id: format!("42000012342026112000000{nth:05}"),
        refunded_ms: sim.chance(0.3).then_some(at_ms + refund_after_ms),
    }
}

fn ingress_over(world: &World) -> Ingress {
    let merchant = Merchant {
        mch_id: MCH_ID.to_owned(),
        app_ids: vec![APPID.to_owned()],
        sub_mch_ids: Vec::new(),
        keys: vec![ApiKey::new(KEY).expect("the key of the reference has 32 characters")],
        accepted: AcceptedAlgorithm::Any,
    };
    let merchants = Merchants::new([merchant]).expect("one merchant with one key");
    let metrics = IngressMetrics::register(&mut Registry::default(), [MCH_ID], &KeyUsed::default());
    Ingress::new(Arc::new(merchants), Arc::new(world.clone()), metrics)
}

fn policies_of(sim: &Sim) -> Policies {
    let policy = Policy {
        mode: Mode::Live,
        cadence: Cadence::wechat(),
        unregistered: if sim.chance(0.3) { Unregistered::Hold } else { Unregistered::Emit },
        close_unpaid: sim.chance(0.3),
        openid: OpenidPolicy::Omit,
        retention: Millis::seconds(35 * 86_400),
    };
    let mch_id = MchId::new(MCH_ID).expect("digits");
    Policies::new(HashMap::from([(mch_id, policy.clone())]), policy)
}
