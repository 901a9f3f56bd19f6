//! What a running service's own listener tells.

use doctor::Finding;
use doctor::service::{self, judge_page};

use super::stand::{self, Stand};
use super::{brief, complete, one};

const MCH: &str = "1900000109";

fn notifications(result: &str, count: u32) -> String {
    format!("paybell_notifications_total{{mch_id=\"{MCH}\",result=\"{result}\"}} {count}\n")
}

fn judged(page: &str) -> Vec<Finding> {
    let findings = judge_page(page, &[MCH]);
    complete(&findings);
    findings
}

#[tokio::test]
async fn a_service_is_ready_or_says_why_not() {
    // A sample may be from before it was ready.
    let down = "paybell_engine_up{part=\"queue\"} 0\npaybell_engine_up{part=\"ledger\"} 1\n";
    let page = notifications("accepted", 3) + down;
    let not_ready = ["error service-not-ready", "error engine-part-down"];
    for (status, body, expected) in [
        ("200 OK", "ready\n", &["ok service-ready"][..]),
        ("503 Service Unavailable", "queue: no connection\n", &not_ready),
    ] {
        let page = page.clone();
        let stand = Stand::plain(move |asked| match asked.path.as_str() {
            "/readyz" => stand::answer(status, "", body),
            _ => stand::answer("200 OK", "", &page),
        })
        .await;
        let findings = service::look(&stand.address.to_string(), &[MCH]).await;
        complete(&findings);
        assert_eq!(brief(&findings), expected);
        if expected.len() > 1 {
            assert_eq!(one(&findings, "engine-part-down").about.en, "queue");
        }
    }
}

#[tokio::test]
async fn nobody_or_somebody_else_at_the_admin_listener() {
    let findings = service::look("127.0.0.1:9", &[MCH]).await;
    assert_eq!(brief(&findings), ["not-looked-at service-not-running"]);
    let stand = Stand::plain(|_| stand::answer("404 Not Found", "", "<html>tomcat</html>")).await;
    let findings = service::look(&stand.address.to_string(), &[MCH]).await;
    assert_eq!(brief(&findings), ["warning service-strange"]);
}

#[test]
fn every_kind_of_refusal_has_its_remedy() {
    for (result, code, with_others, alone) in [
        ("json_body", "notifications-v3", "error", "error"),
        ("bad_signature", "notifications-badly-signed", "warning", "error"),
        ("unsupported_sign_type", "notifications-badly-signed", "warning", "error"),
        ("unknown_merchant", "notifications-unknown-merchant", "warning", "error"),
        ("wrong_appid", "notifications-wrong-app", "warning", "error"),
        ("wrong_sub_mch_id", "notifications-wrong-sub-merchant", "warning", "error"),
        ("wrong_path", "notifications-wrong-path", "warning", "error"),
        ("missing_sign", "notifications-unsigned", "hint", "hint"),
        ("not_durable", "notifications-not-stored", "warning", "error"),
        ("overloaded", "notifications-not-stored", "warning", "error"),
        ("invalid_xml", "notifications-malformed", "hint", "hint"),
    ] {
        let refused = notifications(result, 2);
        let findings = judged(&(notifications("accepted", 9) + &refused));
        assert_eq!(brief(&findings), [format!("{with_others} {code}")], "{result}");
        assert!(one(&findings, code).seen.en.contains("2 notifications"), "{result}");
        let findings = judged(&refused);
        assert_eq!(one(&findings, code).severity.as_str(), alone, "{result}: nothing else came");
        one(&findings, "no-notification-yet");
    }
    assert!(judged(&notifications("accepted", 1)).is_empty());
}

#[test]
fn refund_notifications_are_judged_by_themselves() {
    let refunds =
        |result: &str| notifications(result, 3).replace("_notifications_", "_refund_notifications_");
    let others = notifications("accepted", 9);
    for (result, found) in [
        ("json_body", "error refund-notifications-v3"),
        ("not_decrypted", "error refund-notifications-not-opened"),
        ("missing_req_info", "error refund-notifications-not-opened"),
    ] {
        let findings = judged(&(others.clone() + &refunds(result)));
        assert_eq!(brief(&findings), [found], "{result}");
        assert!(findings[0].seen.en.contains("3 refund notifications"), "{}", findings[0].seen.en);
    }
    let some = judged(&(others.clone() + &refunds("not_decrypted") + &refunds("accepted")));
    assert_eq!(brief(&some), ["warning refund-notifications-not-opened"]);
    assert!(judged(&(others + &refunds("accepted"))).is_empty());
}

#[test]
fn counters_of_trouble_are_read() {
    let page = notifications("accepted", 1)
        + "paybell_dead_letters 4\npaybell_due_lag_seconds 301.5\npaybell_event_fanout_refused_total 7\n"
        + &format!("paybell_key_used_total{{mch_id=\"{MCH}\",key=\"previous\"}} 12\n");
    let findings = judged(&page);
    let expected = [
        "hint previous-key-in-use",
        "warning dead-letters-waiting",
        "warning orders-late",
        "warning subscriber-refuses",
    ];
    assert_eq!(brief(&findings), expected);
}

/// What a process with the scheduler role tells of bills.
fn bills(overdue: u32, tries: &[(&str, u32)], differences: u32) -> String {
    let mut page = notifications("accepted", 1);
    page += &format!(
        "paybell_bills_overdue{{mch_id=\"{MCH}\"}} {overdue}\npaybell_bills_overdue{{mch_id=\"2\"}} 9\n"
    );
    for (result, count) in tries {
        page += &format!("paybell_bills_total{{mch_id=\"{MCH}\",result=\"{result}\"}} {count}\n");
    }
    page += "paybell_bills_total{mch_id=\"2\",result=\"sign\"} 5\n";
    page + &format!("paybell_bill_differences_total{{mch_id=\"{MCH}\",kind=\"amount\"}} {differences}\n")
}

#[test]
fn a_bill_that_waits_says_why_and_whether_somebody_must_act() {
    let reconciled = ("reconciled", 3);
    for (page, expected) in [
        (bills(0, &[reconciled], 0), vec!["ok bills-up-to-date"]),
        (bills(0, &[reconciled, ("sign", 1)], 0), vec!["ok bills-up-to-date"]),
        (bills(1, &[reconciled, ("no_bill", 4)], 0), vec!["warning bills-late"]),
        (bills(2, &[], 0), vec!["warning bills-late"]),
        (bills(1, &[("no_bill", 1), ("not_allowed", 4)], 0), vec!["error bills-refused"]),
        (bills(1, &[("folder", 1)], 2), vec!["error bills-refused", "hint bill-differences"]),
        (notifications("accepted", 1), vec![]),
    ] {
        assert_eq!(brief(&judged(&page)), expected, "{page}");
    }
    let findings = judged(&bills(2, &[reconciled, ("no_bill", 4), ("busy", 1)], 7));
    let late = one(&findings, "bills-late");
    for seen in [&late.seen.en, &late.seen.zh] {
        assert!(
            seen.contains("busy 1, no_bill 4") && !seen.contains("reconciled 3") && seen.contains('2'),
            "{seen}"
        );
    }
    assert!(one(&findings, "bill-differences").seen.zh.contains("amount 7"));
}

#[test]
fn what_only_wechats_own_consoles_show_is_named_where_nothing_comes() {
    let told = &judged("paybell_dead_letters 0\n")[0];
    assert_eq!(told.code, "no-notification-yet");
    for word in ["支付授权目录", "JS接口安全域名"] {
        assert!(told.remedy.en.contains(word) && told.remedy.zh.contains(word), "{word}");
    }
}
