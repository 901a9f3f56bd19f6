//! Waiting for a look: who shares a check, what ends a wait, and what it is answered with.

use std::sync::atomic::Ordering;
use std::time::Duration;

use paybell_core::Answer;
use tokio::join;
use tokio::time::{Instant, timeout};

use crate::desk::{Answered, Desk, MCH, key, not_exist, not_paid, paid, pass};

fn check(out_trade_no: &str, wait: &str) -> String {
    format!("POST /v1/orders/{MCH}/{out_trade_no}/check?wait={wait}")
}

async fn timed(desk: &Desk, request: &str) -> (Answered, u128) {
    let began = Instant::now();
    let answered = desk.ask(request).await;
    (answered, began.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn concurrent_waits_share_one_check_and_each_gets_the_record() {
    let desk = Desk::open();
    desk.order("T1", None).await;
    let request = check("T1", "5s");
    let later = async {
        pass(100).await;
        timed(&desk, &request).await
    };
    let work = async {
        pass(400).await;
        desk.engine.work(&paid(100));
    };
    let (first, second, third, ()) = join!(timed(&desk, &request), timed(&desk, &request), later, work);
    for (answered, _) in [&first, &second, &third] {
        assert_eq!((answered.status, answered.json()["state"].as_str()), (200, Some("paid")));
    }
    assert!((400..500).contains(&first.1), "answered at the look, not at the end of the wait: {}", first.1);
    assert_eq!(desk.engine.published(), 1);
}

#[tokio::test(start_paused = true)]
async fn waits_for_different_orders_share_nothing() {
    let desk = Desk::open();
    desk.order("T1", None).await;
    desk.order("T2", None).await;
    let (one, two) = (check("T1", "100ms"), check("T2", "100ms"));
    join!(desk.ask(&one), desk.ask(&two));
    assert_eq!(desk.engine.published(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_goes_away_takes_nobody_along() {
    let desk = Desk::open();
    desk.order("T1", None).await;
    let request = check("T1", "5s");
    let impatient = timeout(Duration::from_millis(120), desk.ask(&request));
    let patient = async {
        pass(10).await;
        timed(&desk, &request).await
    };
    let work = async {
        pass(300).await;
        desk.engine.work(&not_paid());
    };
    let (gone, (answered, took), ()) = join!(impatient, patient, work);
    assert!(gone.is_err());
    assert_eq!((answered.status, desk.engine.published()), (200, 1));
    assert!((290..400).contains(&took), "{took}");
    pass(1_500).await;
    assert_eq!(timed(&desk, &check("T1", "100ms")).await.0.status, 202);
    assert_eq!(desk.engine.published(), 2, "a wait after the look asks anew");
}

#[tokio::test(start_paused = true)]
async fn abandoned_waits_leave_no_place_behind() {
    let desk = Desk::open();
    desk.order("T1", None).await;
    for published in 1..=3 {
        let request = check("T1", "20s");
        assert!(timeout(Duration::from_millis(75), desk.ask(&request)).await.is_err());
        assert_eq!(desk.engine.published(), published);
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_less_than_a_second_ago_answers_at_once() {
    let desk = Desk::open();
    desk.order("T1", Some(&not_paid())).await;
    pass(900).await;
    let (answered, took) = timed(&desk, &check("T1", "5s")).await;
    assert_eq!((answered.status, took, desk.engine.published()), (200, 0, 1));
    pass(200).await;
    let (answered, took) = timed(&desk, &check("T1", "2s")).await;
    assert_eq!(
        (answered.status, took, desk.engine.published()),
        (202, 2_000, 2),
        "1.1 s ago is too long ago"
    );
}

#[tokio::test(start_paused = true)]
async fn a_look_less_than_a_second_ago_says_nothing_of_a_refund() {
    let desk = Desk::open();
    desk.order("T1", Some(&paid(100))).await;
    let refund =
        format!("POST /v1/orders/{MCH}/T1/refunds\n\n{{\"out_refund_no\":\"R1\",\"refund_fee\":50}}");
    assert_eq!(desk.ask(&refund).await.status, 201);
    pass(500).await;
    let published = desk.engine.published();
    let (answered, took) = timed(&desk, &check("T1", "5s")).await;
    assert_eq!((answered.status, took), (200, 0), "the order is known");
    assert_eq!(desk.engine.published(), published + 1, "and its refund is looked at");
}

#[tokio::test(start_paused = true)]
async fn a_transient_answer_is_no_look() {
    let desk = Desk::open();
    desk.order("T1", None).await;
    let request = check("T1", "1500ms");
    let work = async {
        pass(100).await;
        desk.engine.work(&Answer::Transient("time-out"));
    };
    let ((answered, took), ()) = join!(timed(&desk, &request), work);
    assert_eq!((answered.status, took), (202, 1_500));
    assert_eq!(answered.json()["transient_answers"], 1, "the record says why");
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_forgotten_after_the_look_is_404() {
    let desk = Desk::open();
    let request = check("T9", "10s");
    let work = async {
        pass(500).await;
        desk.engine.work(&not_exist());
    };
    let ((answered, took), ()) = join!(timed(&desk, &request), work);
    assert_eq!(answered.status, 404);
    assert!((500..1_000).contains(&took), "not before the look, and soon after it: {took}");
    assert!(desk.engine.record(&key("T9")).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_check_that_nobody_took_is_no_proof_of_absence() {
    let desk = Desk::open();
    let (answered, took) = timed(&desk, &check("T9", "3s")).await;
    assert_eq!((answered.status, took), (202, 3_000));
    assert_eq!(answered.json()["asked"], true);
    let stored = &desk.engine.stored;
    stored.lock().unwrap().checks.clear();
    stored.lock().unwrap().in_hand = 1;
    assert_eq!(timed(&desk, &check("T8", "3s")).await.0.status, 202, "a worker has it in hand");
}

#[tokio::test(start_paused = true)]
async fn an_empty_queue_is_no_proof_of_absence_where_other_processes_have_checks_in_hand() {
    let desk = Desk::open();
    desk.engine.has_hands_elsewhere.store(true, Ordering::SeqCst);
    let request = check("T9", "10s");
    let another_process = async {
        pass(20).await;
        let taken = std::mem::take(&mut desk.engine.stored.lock().unwrap().checks);
        pass(6_000).await;
        desk.engine.stored.lock().unwrap().checks = taken;
        desk.engine.work(&paid(100));
    };
    let ((answered, took), ()) = join!(timed(&desk, &request), another_process);
    assert_eq!((answered.status, answered.json()["state"].as_str()), (200, Some("paid")));
    assert!((6_000..6_500).contains(&took), "{took}");
    let request = check("T8", "3s");
    let work = async {
        pass(500).await;
        desk.engine.work(&not_exist());
    };
    let ((answered, took), ()) = join!(timed(&desk, &request), work);
    assert_eq!((answered.status, took), (202, 3_000), "nobody can tell");
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_waits_with_what_is_known() {
    let desk = Desk::open();
    desk.order("T1", None).await;
    let request = check("T1", "20s");
    let stop = async {
        pass(200).await;
        desk.drain.cancel();
    };
    let ((answered, took), ()) = join!(timed(&desk, &request), stop);
    assert_eq!((answered.status, took), (202, 200));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_joins_an_old_look_still_gets_its_own_time() {
    let desk = Desk::open();
    desk.order("T1", None).await;
    let (long, short) = (check("T1", "30s"), check("T1", "5s"));
    let late = async {
        pass(28_000).await;
        timed(&desk, &short).await
    };
    let ((first, first_took), (second, second_took)) = join!(timed(&desk, &long), late);
    assert_eq!((first.status, second.status), (202, 202));
    assert_eq!((first_took, second_took), (30_000, 5_000));
    assert_eq!(desk.engine.published(), 2, "the second asks again when the first look is given up");
}

/// After a failover within that moment the ledger may know nothing of what the shop was told.
#[tokio::test(start_paused = true)]
async fn what_a_look_found_is_told_once_a_replica_has_it() {
    let desk = Desk::open();
    desk.order("T1", None).await;
    let request = check("T1", "5s");
    let work = async {
        pass(400).await;
        desk.engine.stored.lock().unwrap().is_unsettled = true;
        desk.engine.work(&paid(100));
    };
    let (told, ()) = join!(desk.ask(&request), work);
    assert_eq!((told.status, told.json()["type"].as_str().unwrap().ends_with("engine-away")), (503, true));
    desk.engine.stored.lock().unwrap().is_unsettled = false;
    let again = desk.ask(&request).await;
    assert_eq!((again.status, again.json()["state"].as_str()), (200, Some("paid")));
}
