//! The seeded simulation as a test: every seed keeps the promise, every broken variant is caught.
#![allow(clippy::disallowed_methods, reason = "a test reads its own environment and measures real time")]
#![allow(clippy::panic, clippy::print_stderr, reason = "a failing seed is printed")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use testkit::sim::{Failure, Mutation, run};

const SEEDS: u64 = 2_000;

/// Seeds that a broken variant may take to be caught.
const MUTANT_SEEDS_MAX: u64 = 4_000;

fn seeds() -> Vec<u64> {
    if let Ok(seed) = std::env::var("PAYBELL_SIM_SEED") {
        return vec![seed.parse().expect("PAYBELL_SIM_SEED is a number")];
    }
    let count = std::env::var("PAYBELL_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(SEEDS);
    (1..=count).collect()
}

/// Plays the seeds on all cores until one fails.
fn first_failure(seeds: &[u64], mutation: Option<Mutation>) -> Option<Box<Failure>> {
    let next = AtomicU64::new(0);
    let failures: Vec<Box<Failure>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let nth = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).ok()?;
                        let seed = *seeds.get(nth)?;
                        if let Err(failure) = run(seed, mutation) {
                            next.store(u64::MAX / 2, Ordering::Relaxed);
                            return Some(failure);
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().expect("no seed panics")).collect()
    });
    failures.into_iter().min_by_key(|failure| failure.seed)
}

#[test]
fn every_seed_keeps_the_promise() {
    let seeds = seeds();
    let begun = Instant::now();
    if let Some(failure) = first_failure(&seeds, None) {
        panic!("{failure}");
    }
    eprintln!("{} seeds in {:.1} s", seeds.len(), begun.elapsed().as_secs_f64());
}

#[test]
fn a_seed_plays_the_same_day_twice() {
    for seed in 1..=20 {
        let once = format!("{:?}", run(seed, None).expect("a good seed"));
        let again = format!("{:?}", run(seed, None).expect("a good seed"));
        assert_eq!(once, again, "seed {seed}");
    }
}

#[test]
fn a_failure_is_printed_in_at_most_40_lines_and_ends_in_what_broke() {
    let seeds: Vec<u64> = (1..=MUTANT_SEEDS_MAX).collect();
    let failure = first_failure(&seeds, Some(Mutation::FreshEventIds)).expect("caught");
    let printed = failure.to_string();
    assert!(printed.lines().count() <= 40, "{printed}");
    assert!(printed.lines().last().is_some_and(|line| line.starts_with("BROKEN")), "{printed}");
}

#[test]
fn every_broken_variant_is_caught() {
    let seeds: Vec<u64> = (1..=MUTANT_SEEDS_MAX).collect();
    let mut survivors = Vec::new();
    for mutation in Mutation::ALL {
        match first_failure(&seeds, Some(mutation)) {
            Some(failure) => {
                let broken = failure.broken.first().cloned().unwrap_or_default();
                eprintln!("{mutation:?}: seed {}: {broken}", failure.seed);
            }
            None => survivors.push(mutation),
        }
    }
    assert!(survivors.is_empty(), "not caught within {MUTANT_SEEDS_MAX} seeds: {survivors:?}");
}
