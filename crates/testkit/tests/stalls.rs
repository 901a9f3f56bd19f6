//! What a machine keeps back from a test is told apart from what the test waits for.

use std::time::Duration;

use testkit::stalls::Stalls;
use tokio::time::{Instant, sleep};

/// As coarse as the measurement is.
const COARSE: Duration = Duration::from_millis(40);

#[tokio::test]
async fn a_thread_that_is_held_up_is_left_out_and_waiting_is_not() {
    let (held_up, waited) = (Duration::from_millis(400), Duration::from_millis(300));
    let stalls = Stalls::watch();
    sleep(COARSE).await;
    let (begun, watch) = (Instant::now(), stalls.begin());
    std::thread::sleep(held_up);
    assert!(watch.lost() >= held_up - COARSE, "before the late tick came: {:?}", watch.lost());
    let rest = Instant::now();
    sleep(waited).await;
    let (rest, all) = (rest.elapsed(), begun.elapsed());
    assert!(watch.lost() >= held_up - COARSE, "{:?}", watch.lost());
    assert!(watch.elapsed() <= rest + COARSE, "{:?} of {all:?}", watch.elapsed());
    // Where the machine itself holds still, waiting is all there.
    let beyond = all.saturating_sub(held_up + waited);
    assert!(watch.elapsed() + beyond * 2 + COARSE * 3 >= waited, "{:?} of {all:?}", watch.elapsed());
}
