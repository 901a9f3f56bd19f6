//! Virtual time and a one-thread executor. Nothing here knows of payments.
//!
//! A task belongs to a process; crashing a process drops its tasks wherever they wait. Time only moves when every task
//! waits: to the earliest deadline, ties broken by the order of asking.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Where a task runs; crashing one ends all its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Process {
    /// WeChat, the shop and the faults themselves: never crash.
    World,
    Ingress,
    Worker(u8),
    Scheduler,
}

type TaskId = u64;
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Core {
    now_ms: i64,
    random: StdRng,
    wakes: BinaryHeap<Reverse<(i64, u64, TaskId)>>,
    asked: u64,
    running: TaskId,
    spawned: Vec<(Process, Work)>,
    crashing: Vec<Process>,
}

/// A handle to the world's time, randomness and tasks.
#[derive(Clone)]
pub struct Sim {
    core: Arc<Mutex<Core>>,
}

impl Sim {
    /// Time zero, and the seed of everything.
    pub fn new(seed: u64, now_ms: i64) -> Self {
        let core = Core {
            now_ms,
            random: StdRng::seed_from_u64(seed),
            wakes: BinaryHeap::new(),
            asked: 0,
            running: 0,
            spawned: Vec::new(),
            crashing: Vec::new(),
        };
        Self { core: Arc::new(Mutex::new(core)) }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True time, milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.core().now_ms
    }

    /// A number of the range.
    pub fn pick(&self, range: std::ops::RangeInclusive<i64>) -> i64 {
        self.core().random.random_range(range)
    }

    /// True with this probability.
    pub fn chance(&self, probability: f64) -> bool {
        self.core().random.random_bool(probability)
    }

    /// Starts a task of a process.
    pub fn spawn(&self, process: Process, work: impl Future<Output = ()> + Send + 'static) {
        self.core().spawned.push((process, Box::pin(work)));
    }

    /// Drops every task of a process before anything else happens.
    pub fn crash(&self, process: Process) {
        self.core().crashing.push(process);
    }

    /// Waits.
    pub fn pause(&self, ms: i64) -> Pause {
        Pause { sim: self.clone(), until_ms: self.now_ms() + ms.max(0), is_asked: false }
    }

    /// Waits until [`Sim::wake`] names the task, or until `ms` have passed.
    pub fn wait(&self, waiters: &Arc<Mutex<Vec<u64>>>, ms: i64) -> Wait {
        Wait { sim: self.clone(), waiters: waiters.clone(), ms, is_asked: false }
    }

    /// Wakes all waiters now.
    pub fn wake(&self, waiters: &Arc<Mutex<Vec<u64>>>) {
        let tasks = std::mem::take(&mut *waiters.lock().unwrap_or_else(PoisonError::into_inner));
        let mut core = self.core();
        for task in tasks {
            let now_ms = core.now_ms;
            core.ask(now_ms, task);
        }
    }

    /// Runs until nothing waits any more, or until `end_ms`. Returns the number of steps.
    pub fn run(&self, end_ms: i64) -> u64 {
        let mut tasks: BTreeMap<TaskId, (Process, Work)> = BTreeMap::new();
        let mut next_id = 1;
        let mut steps = 0;
        loop {
            // Dropping a task may give a check back and wake others: not under the lock.
            let crashing = std::mem::take(&mut self.core().crashing);
            for process in crashing {
                tasks.retain(|_, (of, _)| *of != process);
            }
            let spawned = std::mem::take(&mut self.core().spawned);
            for (process, work) in spawned {
                tasks.insert(next_id, (process, work));
                let mut core = self.core();
                let now_ms = core.now_ms;
                core.ask(now_ms, next_id);
                next_id += 1;
            }
            let Some(task) = self.next(end_ms) else { return steps };
            let Some((_, work)) = tasks.get_mut(&task) else { continue };
            steps += 1;
            if work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                tasks.remove(&task);
            }
        }
    }

    fn next(&self, end_ms: i64) -> Option<TaskId> {
        let mut core = self.core();
        let Reverse((at_ms, _, task)) = core.wakes.pop()?;
        if at_ms > end_ms {
            return None;
        }
        core.now_ms = core.now_ms.max(at_ms);
        core.running = task;
        Some(task)
    }
}

impl Core {
    fn ask(&mut self, at_ms: i64, task: TaskId) {
        self.asked += 1;
        self.wakes.push(Reverse((at_ms, self.asked, task)));
    }
}

/// A wait for a point in time.
pub struct Pause {
    sim: Sim,
    until_ms: i64,
    is_asked: bool,
}

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let sim = self.sim.clone();
        let mut core = sim.core();
        if core.now_ms >= self.until_ms && self.is_asked {
            return Poll::Ready(());
        }
        if !self.is_asked {
            let task = core.running;
            core.ask(self.until_ms, task);
            self.is_asked = true;
        }
        Poll::Pending
    }
}

/// A wait for a wake-up, bounded in time.
pub struct Wait {
    sim: Sim,
    waiters: Arc<Mutex<Vec<u64>>>,
    ms: i64,
    is_asked: bool,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.is_asked {
            return Poll::Ready(());
        }
        self.is_asked = true;
        let sim = self.sim.clone();
        let mut core = sim.core();
        let task = core.running;
        let until_ms = core.now_ms.saturating_add(self.ms);
        core.ask(until_ms, task);
        drop(core);
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        Poll::Pending
    }
}
