//! Writes a bill piece by piece: BOM, header, rows, summary; packed if asked. Only the rows' pointers and one piece of
//! text are in memory at a time, so a bill may have any number of rows.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    sync::Arc,
    vec,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::{
    BillOf, BillRow, Padding,
    columns::{self, Column},
    values::{BillTotals, Fee, RefundValues, Values, Yuan, handling_fee},
};
use crate::{clock::DAY_MS, faults::mix, settings::Settings};

/// Rows that are written before others may use the processor.
const PIECE_ROWS: usize = 256;

const BEGIN_BYTES: usize = 64 * 1024;

/// A bill on its way.
pub(crate) struct BillStream {
    of: BillOf,
    settings: Arc<Settings>,
    columns: Vec<Column>,
    rows: vec::IntoIter<BillRow>,
    padding: Option<Padding>,
    padded: u64,
    totals: BillTotals,
    stage: Stage,
    packer: Option<GzEncoder<Vec<u8>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Header,
    Rows,
    Padding,
    Summary,
    End,
}

impl BillStream {
    pub(super) fn new(
        of: &BillOf,
        rows: Vec<BillRow>,
        padding: Option<Padding>,
        settings: Arc<Settings>,
    ) -> BillStream {
        BillStream {
            columns: columns::columns(of.kind, settings.bill_old_layout),
            of: of.clone(),
            settings,
            rows: rows.into_iter(),
            padding,
            padded: 0,
            totals: BillTotals::default(),
            stage: Stage::Header,
            packer: None,
        }
    }

    /// From now on packed.
    pub(crate) fn packed(mut self) -> BillStream {
        self.packer = Some(GzEncoder::new(Vec::new(), Compression::fast()));
        self
    }

    pub(crate) fn is_packed(&self) -> bool {
        self.packer.is_some()
    }

    /// The next piece; none at the end.
    pub(crate) fn piece(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let text = self.text().map_err(io::Error::other)?;
            let Some(packer) = &mut self.packer else {
                return Ok(text.filter(|text| !text.is_empty()).map(Bytes::from));
            };
            match text {
                Some(text) => packer.write_all(text.as_bytes())?,
                None => {
                    packer.try_finish()?;
                    let rest = std::mem::take(packer.get_mut());
                    return Ok(if rest.is_empty() { None } else { Some(Bytes::from(rest)) });
                }
            }
            if !packer.get_ref().is_empty() {
                return Ok(Some(Bytes::from(std::mem::take(packer.get_mut()))));
            }
        }
    }

    /// The first pieces at once, for a bill that is to break off in their middle.
    pub(crate) fn begin(&mut self) -> io::Result<Bytes> {
        let mut begin = Vec::new();
        while begin.len() < BEGIN_BYTES
            && let Some(piece) = self.piece()?
        {
            begin.extend_from_slice(&piece);
        }
        Ok(Bytes::from(begin))
    }

    /// Adds all rows up without writing them.
    pub(super) fn totals(self) -> BillTotals {
        let (mut totals, rate_bp) = (self.totals, self.settings.fee_rate_bp);
        for row in self.rows {
            if let Some(values) = Values::of(&row, rate_bp) {
                totals.add(&values);
            }
        }
        if let Some(padding) = self.padding {
            for number in 0..padding.rows {
                let (total_fee, refund_fee) = padding.amounts(number, self.of.kind);
                totals.add_padding(total_fee, refund_fee, rate_bp);
            }
        }
        totals
    }

    /// The next part of the text, never empty.
    fn text(&mut self) -> Result<Option<String>, fmt::Error> {
        let mut text = String::with_capacity(PIECE_ROWS * 384);
        match self.stage {
            Stage::Header => {
                if self.settings.bill_bom {
                    text.push('\u{feff}');
                }
                let old = self.settings.bill_old_layout;
                let names: Vec<_> = self.columns.iter().map(|column| column.name(old)).collect();
                text.push_str(&names.join(","));
                self.end_line(&mut text);
                self.stage = Stage::Rows;
            }
            Stage::Rows => {
                for row in self.rows.by_ref().take(PIECE_ROWS).collect::<Vec<_>>() {
                    if let Some(values) = Values::of(&row, self.settings.fee_rate_bp) {
                        self.row(&values, &mut text)?;
                    }
                }
                if self.rows.len() == 0 {
                    self.stage = Stage::Padding;
                }
            }
            Stage::Padding => self.pad(&mut text)?,
            Stage::Summary => {
                self.summary(&mut text)?;
                self.stage = Stage::End;
            }
            Stage::End => return Ok(None),
        }
        if text.is_empty() { self.text() } else { Ok(Some(text)) }
    }

    fn row(&mut self, values: &Values<'_>, text: &mut String) -> fmt::Result {
        for (n, column) in self.columns.iter().enumerate() {
            text.push_str(if n == 0 { "`" } else { ",`" });
            values.write(*column, self.settings.fee_rate_bp, text)?;
        }
        self.end_line(text);
        self.totals.add(values);
        Ok(())
    }

    fn pad(&mut self, text: &mut String) -> fmt::Result {
        let Some(padding) = self.padding.take() else {
            self.stage = Stage::Summary;
            return Ok(());
        };
        let appid = "wxpadding000000000".to_owned();
        for _ in 0..PIECE_ROWS {
            if self.padded >= padding.rows {
                self.stage = Stage::Summary;
                return Ok(());
            }
            self.pad_one(&padding, &appid, text)?;
            self.padded += 1;
        }
        self.padding = Some(padding);
        Ok(())
    }

    /// A payment that nobody else knows of, and at times its refund.
    fn pad_one(&mut self, padding: &Padding, appid: &str, text: &mut String) -> fmt::Result {
        let number = self.padded;
        let (total_fee, refund_fee) = padding.amounts(number, self.of.kind);
        let share = u128::from(number) * u128::from(DAY_MS.unsigned_abs()) / u128::from(padding.rows.max(1));
        let at_ms = self.of.day_begin_ms + i64::try_from(share).unwrap_or(0);
        let day = crate::clock::compact(at_ms);
        let mch_id = self.of.mch_id.clone();
        let transaction_id = format!("4299000000{}{number:010}", day.get(..8).unwrap_or_default());
        let out_trade_no = format!("{}{number:010}", padding.prefix);
        let openid = format!("oPAD{:016x}", mix(number ^ 1));
        let rate_bp = self.settings.fee_rate_bp;
        let paid = Values {
            at_ms,
            appid,
            mch_id: &mch_id,
            sub_mch_id: "0",
            device: "",
            transaction_id: &transaction_id,
            out_trade_no: &out_trade_no,
            openid: &openid,
            trade_type: "JSAPI",
            state: "SUCCESS",
            bank: "OTHERS",
            currency: "CNY",
            settlement_fee: total_fee,
            coupon_fee: 0,
            total_fee,
            refund: None,
            goods: "填充, 测试商品",
            attach: "",
            handling_fee: handling_fee(total_fee, rate_bp),
        };
        self.row(&paid, text)?;
        let Some(fee) = refund_fee else { return Ok(()) };
        let (refund_id, out_refund_no) = (format!("5{transaction_id}"), format!("{out_trade_no}R1"));
        let refund = RefundValues {
            asked_ms: at_ms,
            done_ms: Some(at_ms),
            refund_id: &refund_id,
            out_refund_no: &out_refund_no,
            fee,
            coupon_fee: 0,
            requested_fee: fee,
            state: "SUCCESS",
        };
        let handling_fee = -handling_fee(fee, rate_bp);
        let back = Values { state: "REFUND", refund: Some(refund), handling_fee, ..paid };
        self.row(&Values { settlement_fee: 0, total_fee: 0, ..back }, text)
    }

    fn summary(&self, text: &mut String) -> fmt::Result {
        let names = columns::summary(self.settings.bill_old_layout);
        text.push_str(&names.join(","));
        self.end_line(text);
        let totals = &self.totals;
        write!(text, "`{},`{},`{}", totals.rows, Yuan(totals.settlement_fee), Yuan(totals.refund_fee))?;
        write!(text, ",`{},`{}", Yuan(totals.coupon_refund_fee), Fee(totals.handling_fee))?;
        if !self.settings.bill_old_layout {
            write!(text, ",`{},`{}", Yuan(totals.total_fee), Yuan(totals.requested_fee))?;
        }
        self.end_line(text);
        Ok(())
    }

    fn end_line(&self, text: &mut String) {
        text.push_str(if self.settings.bill_crlf { "\r\n" } else { "\n" });
    }
}
