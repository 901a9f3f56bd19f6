//! Reads an event's document: what its data must be, its type says.

use serde::Deserialize;
use uuid::Uuid;

use super::{ContentType, Event, EventData, EventType, SpecVersion};
use crate::time::{Timestamp, rfc3339};

/// An event whose type and data do not belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the data is not that of the event's type")]
pub(super) struct ForeignData;

/// An event before that is looked at.
#[derive(Deserialize)]
pub(super) struct Document {
    specversion: SpecVersion,
    id: Uuid,
    source: String,
    #[serde(rename = "type")]
    kind: EventType,
    subject: String,
    #[serde(with = "rfc3339")]
    time: Timestamp,
    datacontenttype: ContentType,
    data: EventData,
}

impl TryFrom<Document> for Event {
    type Error = ForeignData;

    fn try_from(document: Document) -> Result<Self, ForeignData> {
        let Document { specversion, id, source, kind, subject, time, datacontenttype, data } = document;
        if matches!(data, EventData::Bill(_)) != (kind == EventType::BillReconciled) {
            return Err(ForeignData);
        }
        Ok(Self { specversion, id, source, kind, subject, time, datacontenttype, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = concat!(
        r#"{"specversion":"1.0","id":"8803801d-9ff3-598c-bbfa-290c72a9eb8c","source":"/paybell/1900000109","#,
        r#""type":"order.paid","subject":"T2026112000000001","time":"2026-11-20T12:00:05+08:00","#,
        r#""datacontenttype":"application/json","data":{"version":3,"mch_id":"1900000109","sub_mch_id":null,"#,
        r#""appid":null,"out_trade_no":"T2026112000000001","transaction_id":"4200001234202611200123456789","#,
        r#""total_fee":1999,"fee_type":"CNY","cash_fee":1999,"settlement_total_fee":null,"coupon_fee":null,"#,
        r#""coupons":[{"id":"10000","type":"CASH","fee":100}],"trade_state":"SUCCESS","trade_type":"JSAPI","#,
        r#""bank_type":"OTHERS","attach":null,"paid_at":"2026-11-20T12:00:03+08:00","#,
        r#""learned_by":"notification","late":false,"registered":true}}"#
    );

    #[test]
    fn an_order_is_written_byte_for_byte_as_it_was_read() {
        let event: Event = serde_json::from_str(ORDER).unwrap();
        assert_eq!(event.to_json(), ORDER);
        assert_eq!(event.key().unwrap().to_string(), "1900000109/T2026112000000001");
        assert_eq!(event.subject, event.order().unwrap().out_trade_no.as_str());
    }

    #[test]
    fn data_of_another_type_is_refused() {
        for kind in EventType::ALL {
            let document = ORDER.replace("order.paid", kind.as_str());
            let is_read = serde_json::from_str::<Event>(&document).is_ok();
            assert_eq!(is_read, kind != EventType::BillReconciled, "{}", kind.as_str());
        }
    }
}
