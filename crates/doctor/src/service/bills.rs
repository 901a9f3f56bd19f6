//! What a service's counters tell of bills: whether a day's bill waits to be reconciled, why, and whether bills and ledger
//! differ. Only the scheduler role counts them; of another process nothing is said.

use super::counters::merchant;
use crate::finding::Finding;
use crate::samples::Samples;

/// Results after which trying again does not help.
const FOR_A_PERSON: [&str; 7] =
    ["sign", "not_allowed", "bad_request", "refused", "folder", "no_file", "no_room"];

pub(super) fn judge(samples: &Samples, mch_id: &str) -> Vec<Finding> {
    let of_merchant = samples.by("paybell_bills_overdue", "mch_id").find(|(found, _)| *found == mch_id);
    let Some((_, overdue)) = of_merchant else { return Vec::new() };
    let mut findings = vec![if overdue < 1.0 { up_to_date(mch_id) } else { late(samples, mch_id, overdue) }];
    findings.extend(differences(samples, mch_id));
    findings
}

fn up_to_date(mch_id: &str) -> Finding {
    Finding::ok("bills-up-to-date", merchant(mch_id))
        .seen("no day waits for its bill to be reconciled", "没有等待对账的日期")
}

/// Days wait, yesterday's most likely: why, as far as tries since the start tell.
fn late(samples: &Samples, mch_id: &str, overdue: f64) -> Finding {
    let tries = counted(samples, "paybell_bills_total", "result", mch_id);
    let failed: Vec<&(String, f64)> = tries.iter().filter(|(result, _)| result != "reconciled").collect();
    let said = match failed.is_empty() {
        true => "-".to_owned(),
        false => {
            failed.iter().map(|(result, count)| format!("{result} {count}")).collect::<Vec<_>>().join(", ")
        }
    };
    let seen_en = format!(
        "{overdue} days' bills should be reconciled by now and are not; tries since the start: {said}"
    );
    let seen_zh = format!("有 {overdue} 天的账单应已对账而尚未完成；启动以来的尝试：{said}");
    if failed.iter().any(|(result, _)| FOR_A_PERSON.contains(&result.as_str())) {
        return Finding::error("bills-refused", merchant(mch_id)).seen(seen_en, seen_zh).remedy(
            "`paybell reconcile` lists the days with the reason and what to do: the right to download bills in the merchant \
             platform, the key, or reconcile.folder",
            "用 paybell reconcile 查看各日的原因和办法：商户平台的账单下载权限、密钥，或 reconcile.folder",
        );
    }
    Finding::warning("bills-late", merchant(mch_id)).seen(seen_en, seen_zh).remedy(
        "a bill is there from about 10:00 on, and is tried again by itself; `paybell reconcile` lists the days with the reason",
        "账单约在 10:00 后生成，会自动重试；用 paybell reconcile 可查看各日的原因",
    )
}

fn differences(samples: &Samples, mch_id: &str) -> Option<Finding> {
    let kinds = counted(samples, "paybell_bill_differences_total", "kind", mch_id);
    let found: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    (!found.is_empty()).then(|| {
        let found = found.join(", ");
        Finding::hint("bill-differences", merchant(mch_id))
            .seen(
                format!("bills and ledger differed since the start: {found}"),
                format!("启动以来账单与账本有差异：{found}"),
            )
            .remedy(
                "`paybell reconcile --date YYYY-MM-DD` shows each with what it means; what a check can heal is healed by itself",
                "用 paybell reconcile --date 日期 查看每条差异及其含义；能通过查询补齐的会自动补齐",
            )
    })
}

/// The counts of a merchant above 0, by a label, in the order of its words.
fn counted(samples: &Samples, metric: &str, label: &str, mch_id: &str) -> Vec<(String, f64)> {
    let mut words: Vec<&str> = samples.by(metric, label).map(|(word, _)| word).collect();
    words.sort_unstable();
    words.dedup();
    let of_word = |word: &str| samples.sum(metric, &[("mch_id", mch_id), (label, word)]);
    words
        .into_iter()
        .map(|word| (word.to_owned(), of_word(word)))
        .filter(|(_, count)| *count >= 1.0)
        .collect()
}
