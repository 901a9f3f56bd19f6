//! `/pay/downloadbill`: streams the bill of a day, or says in unsigned XML why there is none. Judges like `wire`, but
//! answers in its own way: nothing here is signed.

use std::sync::Arc;

use wechat_pay::xml;

use super::{Answer, Content, Mishap, read};
use crate::{
    bill::{BillOf, BillStream, BillType, NoBill},
    call_faults::{CallFault, CallName, Plan},
    clock,
    order::OrderKey,
    wire::{Call, Refusal},
    world::World,
};

/// Why there is no bill: WeChat's number and words.
type BillRefusal = (&'static str, &'static str);

const BAD_DATE: BillRefusal = ("20001", "invalid bill_date");
const BUSY: BillRefusal = ("20003", "SYSTEMERROR");

pub(super) fn answer(body: &[u8], world: &Arc<World>) -> Answer {
    let call = match read(body, world) {
        Ok(call) => call,
        Err(Answer { content: Content::Xml(text), .. }) if text.contains("签名") => {
            return refused(("20001", "SIGN ERROR"));
        }
        Err(_) => return refused(("20001", "data format error")),
    };
    let plan = world.calls.plan(&world.faults(), CallName::DownloadBill, &drawn_by(&call));
    let mut answer = match plan.fault {
        Some(CallFault::Lost) => with_mishap(refused(BUSY), Mishap::Lost),
        Some(CallFault::Http500) => with_mishap(refused(BUSY), Mishap::Http500),
        Some(CallFault::SystemError | CallFault::SystemErrorAfter | CallFault::UnsignedFail) => refused(BUSY),
        Some(CallFault::FrequencyLimited) => refused(("20000", "频率限制")),
        Some(CallFault::Refuse) => {
            let faults = world.faults();
            refused((&faults.download_bill.refuse_code, &faults.download_bill.refuse_text))
        }
        _ => match find(&call, world) {
            Ok(bill) => of_bill(bill, plan),
            Err(refusal) => refused(refusal),
        },
    };
    answer.delay = plan.delay;
    answer
}

fn of_bill(bill: BillStream, plan: Plan) -> Answer {
    let answer = Answer { content: Content::Bill(Box::new(bill)), ..Answer::plain(String::new()) };
    match plan.fault {
        Some(CallFault::AnswerLost) => with_mishap(answer, Mishap::Cut),
        Some(CallFault::Html) => with_mishap(answer, Mishap::Html),
        Some(CallFault::WrongSign) => with_mishap(answer, Mishap::Short),
        _ => answer,
    }
}

fn find(call: &Call<'_>, world: &World) -> Result<BillStream, BillRefusal> {
    call.check_app().map_err(|refusal| match refusal {
        Refusal::Business { code: "LACK_PARAMS", .. } => ("20001", "missing parameter"),
        Refusal::Business { text, .. } | Refusal::Unsigned(text) => ("20001", text),
    })?;
    let date = call.get("bill_date").ok_or(("20001", "missing parameter"))?;
    let day_begin_ms = clock::day_begin(date).ok_or(BAD_DATE)?;
    let kind = BillType::read(call.get("bill_type")).ok_or(("20001", "invalid bill_type"))?;
    let packed = match call.get("tar_type") {
        None => false,
        Some("GZIP") => true,
        Some(_) => return Err(("20001", "data format error")),
    };
    let sub_mch_id = call.get("sub_mch_id").map(str::to_owned);
    if let Some(sub_mch_id) = &sub_mch_id
        && !call.merchant.sub_mch_ids.contains(sub_mch_id)
    {
        return Err(("20007", "子商户号与服务商无受理关系，无权限"));
    }
    let mch_id = call.get("mch_id").unwrap_or_default().to_owned();
    let bill = world.bill(&BillOf { mch_id, sub_mch_id, day_begin_ms, kind }).map_err(|why| match why {
        NoBill::Date => BAD_DATE,
        NoBill::None => ("20002", "No Bill Exist"),
        NoBill::Creating => ("20002", "Bill Creating"),
    })?;
    Ok(if packed { bill.packed() } else { bill })
}

fn refused((error_code, return_msg): (&str, &str)) -> Answer {
    let fields = [("return_code", "FAIL"), ("return_msg", return_msg), ("error_code", error_code)];
    Answer::plain(xml::write(fields))
}

fn with_mishap(answer: Answer, mishap: Mishap) -> Answer {
    Answer { mishap: Some(mishap), ..answer }
}

/// What faults are drawn by: the day.
fn drawn_by(call: &Call<'_>) -> OrderKey {
    let owned = |name| call.get(name).unwrap_or_default().to_owned();
    OrderKey { mch_id: owned("mch_id"), out_trade_no: owned("bill_date") }
}
