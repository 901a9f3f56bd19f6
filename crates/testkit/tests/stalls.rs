//! What a machine keeps back from a test is told apart from what the test waits for.

use std::time::Duration;

use testkit::stalls::Stalls;
use tokio::time::{Instant, sleep};

/// As coarse as the measurement is.
const COARSE: Duration = Duration::from_millis(40);

const HELD_UP: Duration = Duration::from_millis(400);
const WAITED: Duration = Duration::from_millis(300);

/// Where the machine itself holds still, what it kept back is rightly missed: it is given so many rounds.
const ROUNDS: usize = 20;

#[tokio::test]
async fn a_thread_that_is_held_up_is_left_out_and_waiting_is_not() {
    let mut measured = Vec::new();
    while measured.len() < ROUNDS {
        let round = round().await;
        if round + COARSE * 3 >= WAITED {
            return;
        }
        measured.push(round);
    }
    panic!("waiting for {WAITED:?} is left out: {measured:?}");
}

/// Holds the thread up, then waits, and gives what was measured of the two.
async fn round() -> Duration {
    let stalls = Stalls::watch();
    sleep(COARSE).await;
    let (begun, watch) = (Instant::now(), stalls.begin());
    std::thread::sleep(HELD_UP);
    assert!(watch.lost() >= HELD_UP - COARSE, "before the late tick came: {:?}", watch.lost());
    let rest = Instant::now();
    sleep(WAITED).await;
    let (rest, all) = (rest.elapsed(), begun.elapsed());
    assert!(watch.lost() >= HELD_UP - COARSE, "{:?}", watch.lost());
    let measured = watch.elapsed();
    assert!(measured <= rest + COARSE, "{measured:?} of {all:?}");
    measured
}
