//! Bills that are no bills: there is a whole verdict or none.

use std::io::{Cursor, Read};

use reconcile::{Failure, Kind, LISTED_MAX, Stage, Surveyed, Task, compare, survey};
use wechat_pay::bill::{BillDate, BillError, RefusalKind};

use crate::support::*;

#[test]
fn a_cut_file_gives_no_result_and_nothing_to_heal() {
    let lines: Vec<Line> = (0..2_000).map(|number| paid(number, "08:00:00", 100)).collect();
    let whole = packed(&text_of(&lines));
    for length in [whole.len() - 1, whole.len() / 2, 30] {
        let cut = whole[..length].to_vec();
        let mut ears = Ears::default();
        let failure = survey(&mut opener(cut), &mut ears).unwrap_err();
        assert!(matches!(failure, Failure::Bill(BillError::Io(_))), "{length}: {failure}");
        assert_eq!(ears.heard, []);
    }
    let text = text_of(&lines);
    let without_summary = &text[..text.find("总交易单数").unwrap()];
    let failure = surveyed(without_summary.as_bytes()).unwrap_err();
    assert!(matches!(failure, Failure::Bill(BillError::MissingSummary)), "{failure}");
}

#[test]
fn an_answer_instead_of_a_bill_is_no_empty_day() {
    let body = "<xml><return_code><![CDATA[FAIL]]></return_code><return_msg><![CDATA[No Bill Exist]]></return_msg><error_code><![CDATA[20002]]></error_code></xml>";
    let surveyed = survey(&mut opener(body.as_bytes().to_vec()), &mut Ears::default()).unwrap();
    let Surveyed::Refused(refusal) = surveyed else { panic!("{surveyed:?}") };
    assert_eq!(refusal.kind, RefusalKind::NoBill);
}

#[test]
fn an_empty_day_is_compared_like_any_other() {
    let (result, heard) = run(&task(), &[], &mut Memory::default()).unwrap();
    assert_eq!((result.rows, heard.len(), result.sums.len()), (0, 0, 1));
    assert_eq!((result.sums[0].fee_type.as_str(), result.sums[0].net), ("CNY", 0));
    let mut ledger = Memory::like(&[paid(1, "08:00:00", 100)]);
    let (_, heard) = run(&task(), &[], &mut ledger).unwrap();
    assert_eq!(found(&heard), [(Kind::PaymentOnlyHere, "T1")]);
}

#[test]
fn a_bill_that_changes_between_its_readings_is_refused() {
    let lines = [paid(1, "08:00:00", 100), paid(2, "08:00:00", 100)];
    let first = packed(&text_of(&lines));
    let found = surveyed(&first).unwrap();
    for second in [packed(&text_of(&lines[..1])), b"<xml></xml>".to_vec()] {
        let mut ledger = Memory::like(&lines);
        let result = compare(&task(), &found, &mut opener(second), &mut ledger, &mut Ears::default());
        assert!(matches!(result, Err(Failure::Changed)), "{result:?}");
    }
}

#[test]
fn totals_that_are_not_the_sums_are_named_and_healing_goes_on() {
    let lines = [paid(1, "08:00:00", 1999), paid(2, "08:00:00", 100)];
    let text = text_of(&lines).replace("\r\n`2.0,`20.99", "\r\n`3.0,`20.99");
    let bytes = text.into_bytes();
    let survey = surveyed(&bytes).unwrap();
    let mut ears = Ears::default();
    let mut ledger = Memory::like(&lines[..1]);
    let result = compare(&task(), &survey, &mut opener(bytes), &mut ledger, &mut ears).unwrap();
    assert_eq!(result.counts[&Kind::Totals], 1);
    let [off] = result.totals_off.as_slice() else { panic!("{:?}", result.totals_off) };
    assert_eq!((off.name.as_str(), off.stated, off.counted), ("总交易单数", Some(3), 2));
    assert_eq!(checks(&ears.heard).len(), 1, "WeChat is asked about every payment anyway");
}

#[test]
fn somebody_else_s_bill_is_refused_as_a_whole() {
    let others = [Line { mch_id: "1900000110", ..paid(1, "08:00:00", 100) }];
    let failure = run(&task(), &others, &mut Memory::default()).unwrap_err();
    assert!(matches!(&failure, Failure::OtherMerchant { found, .. } if found == "1900000110"), "{failure}");
    let date = BillDate::parse("2026-11-20").unwrap();
    let task = Task { first: date, last: date, ..task() };
    let failure = run(&task, &[paid(1, "08:00:00", 100)], &mut Memory::default()).unwrap_err();
    assert!(matches!(failure, Failure::OtherDay { .. }), "{failure}");
}

#[test]
fn the_old_layout_is_compared_by_its_only_amount() {
    let header = "交易时间,公众账号ID,商户号,子商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,总金额,代金券或立减优惠金额,微信退款单号,商户退款单号,退款金额,代金券或立减优惠退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率";
    let row = format!(
        "`2026-11-18 08:00:00,`{APP},`{MERCHANT},`0,`,`{},`T1,`o,`JSAPI,`SUCCESS,`CFT,`CNY,`1.00,`0.00,`0,`0,`0,`0,`,`,`tea,`,`0.00600,`0.60%",
        tx(1)
    );
    let text = format!(
        "{header}\n{row}\n总交易单数,总交易额,总退款金额,总代金券或立减优惠退款金额,手续费总金额\n`1,`1.00,`0.00,`0.00,`0.00600\n"
    );
    let survey = surveyed(text.as_bytes()).unwrap();
    let mut ledger = Memory::like(&[paid(1, "08:00:00", 100)]);
    let mut ears = Ears::default();
    let result = compare(&task(), &survey, &mut opener(text.into_bytes()), &mut ledger, &mut ears).unwrap();
    assert_eq!((result.agreed, ears.heard.len(), result.sums[0].gross), (1, 0, 100));
}

#[test]
fn whoever_listens_may_end_it() {
    let lines: Vec<Line> = (0..5).map(|number| paid(number, "08:00:00", 100)).collect();
    let bytes = packed(&text_of(&lines));
    let survey = surveyed(&bytes).unwrap();
    let mut ears = Ears { stop_after: Some(2), ..Ears::default() };
    let result = compare(&task(), &survey, &mut opener(bytes), &mut Memory::default(), &mut ears);
    assert!(matches!(result, Err(Failure::Stopped(_))), "{result:?}");
    assert_eq!(ears.heard.len(), 2);
}

#[test]
fn many_differences_are_all_heard_and_some_are_kept() {
    let count = u32::try_from(LISTED_MAX).unwrap() * 5;
    let lines: Vec<Line> = (0..count).map(|number| paid(number, "08:00:00", 100)).collect();
    let bytes = packed(&text_of(&lines));
    let survey = surveyed(&bytes).unwrap();
    let mut ears = Ears::default();
    let result = compare(&task(), &survey, &mut opener(bytes), &mut Memory::default(), &mut ears).unwrap();
    assert_eq!((ears.heard.len(), result.differences.len()), (LISTED_MAX * 5, LISTED_MAX));
    assert_eq!(result.checks, u64::from(count));
    let compared: Vec<_> = ears.stages.iter().filter(|progress| progress.stage == Stage::Comparing).collect();
    assert!(compared.iter().all(|progress| progress.total == Some(u64::from(count))));
    assert!(!compared.is_empty());
}

#[test]
fn a_file_that_cannot_be_opened_says_so() {
    let mut absent = || -> std::io::Result<Box<dyn Read>> { Err(std::io::ErrorKind::NotFound.into()) };
    let failure = survey(&mut absent, &mut Ears::default()).unwrap_err();
    assert!(matches!(failure, Failure::Open(_)), "{failure}");
    let mut empty = || -> std::io::Result<Box<dyn Read>> { Ok(Box::new(Cursor::new(Vec::new()))) };
    let failure = survey(&mut empty, &mut Ears::default()).unwrap_err();
    assert!(matches!(failure, Failure::Bill(BillError::Empty)), "{failure}");
}
