//! The order book: one table under one lock that is held for look-ups and replacements only. Knows no rules; `world`
//! does, and takes and gives whole orders.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    error::Error,
    order::{Order, OrderKey},
    refund::{Refund, RefundKey},
};

/// A refund and its order.
pub(crate) type Refunded = (Arc<Order>, Arc<Refund>);

pub(crate) struct Book {
    tables: Mutex<Tables>,
    orders_max: usize,
}

#[derive(Default)]
struct Tables {
    /// By merchant, then by `out_trade_no`: found without building a key.
    orders: HashMap<String, HashMap<String, Arc<Order>>>,
    count: usize,
    by_transaction: HashMap<String, OrderKey>,
    /// The `out_trade_no` of each refund.
    by_refund: HashMap<RefundKey, String>,
    by_refund_id: HashMap<String, RefundKey>,
    /// In the order of acceptance, for paging.
    refunded: Vec<RefundKey>,
    /// In the order of placing, for paging; a place keeps its number when its order is forgotten.
    placed: Vec<OrderKey>,
}

impl Book {
    pub(crate) fn new(orders_max: usize) -> Self {
        Book { tables: Mutex::default(), orders_max }
    }

    pub(crate) fn get(&self, mch_id: &str, out_trade_no: &str) -> Option<Arc<Order>> {
        self.tables().get(mch_id, out_trade_no)
    }

    /// Looks at every order until one is it.
    pub(crate) fn find(&self, is_it: impl Fn(&Order) -> bool) -> Option<Arc<Order>> {
        let tables = self.tables();
        tables.orders.values().flat_map(HashMap::values).find(|order| is_it(order)).cloned()
    }

    /// All orders of a merchant, in no order.
    pub(crate) fn of_merchant(&self, mch_id: &str) -> Vec<Arc<Order>> {
        let tables = self.tables();
        tables.orders.get(mch_id).into_iter().flat_map(HashMap::values).cloned().collect()
    }

    pub(crate) fn by_transaction(&self, mch_id: &str, transaction_id: &str) -> Option<Arc<Order>> {
        let tables = self.tables();
        let key = tables.by_transaction.get(transaction_id).filter(|key| key.mch_id == mch_id)?;
        tables.get(&key.mch_id, &key.out_trade_no)
    }

    /// The order that a refund is of.
    pub(crate) fn order_of_refund(&self, name: &RefundKey) -> Option<OrderKey> {
        let out_trade_no = self.tables().by_refund.get(name)?.clone();
        Some(OrderKey { mch_id: name.mch_id.clone(), out_trade_no })
    }

    pub(crate) fn by_refund_id(&self, mch_id: &str, refund_id: &str) -> Option<RefundKey> {
        self.tables().by_refund_id.get(refund_id).filter(|name| name.mch_id == mch_id).cloned()
    }

    /// At most `limit` refunds accepted after the first `after`, each with its order, and the place to continue from.
    pub(crate) fn refunds(&self, after: usize, limit: usize) -> (Vec<Refunded>, usize) {
        let tables = self.tables();
        let names = tables.refunded.iter().skip(after).take(limit);
        let next = after.min(tables.refunded.len()) + names.len();
        let found = names.filter_map(|name| {
            let order = tables.get(&name.mch_id, tables.by_refund.get(name)?)?;
            let refund = order.refund(&name.out_refund_no)?.clone();
            Some((order, refund))
        });
        (found.collect(), next)
    }

    pub(crate) fn refund_places(&self) -> usize {
        self.tables().refunded.len()
    }

    pub(crate) fn insert(&self, order: Order) -> Result<Arc<Order>, Error> {
        let mut tables = self.tables();
        if tables.get(&order.key.mch_id, &order.key.out_trade_no).is_some() {
            return Err(Error::OrderExists(order.key.out_trade_no));
        }
        if tables.count >= self.orders_max {
            return Err(Error::Full(self.orders_max));
        }
        let order = Arc::new(order);
        tables.count += 1;
        tables.placed.push(order.key.clone());
        let of_merchant = tables.orders.entry(order.key.mch_id.clone()).or_default();
        of_merchant.insert(order.key.out_trade_no.clone(), order.clone());
        Ok(order)
    }

    /// Replaces an order by what `change` makes of it; nothing is kept of a change that is refused.
    pub(crate) fn change(
        &self,
        key: &OrderKey,
        change: impl FnOnce(&mut Order) -> Result<(), Error>,
    ) -> Result<Arc<Order>, Error> {
        let mut tables = self.tables();
        let unknown = || Error::UnknownOrder(key.out_trade_no.clone());
        let mut order = Order::clone(&*tables.get(&key.mch_id, &key.out_trade_no).ok_or_else(unknown)?);
        change(&mut order)?;
        if let Some(paid) = &order.paid {
            match tables.by_transaction.get(&paid.transaction_id) {
                Some(other) if other != key => {
                    return Err(Error::TransactionTaken(paid.transaction_id.clone()));
                }
                Some(_) => {}
                None => {
                    tables.by_transaction.insert(paid.transaction_id.clone(), key.clone());
                }
            }
        }
        tables.index_refunds(&order)?;
        let order = Arc::new(order);
        let of_merchant = tables.orders.get_mut(&key.mch_id).ok_or_else(unknown)?;
        of_merchant.insert(key.out_trade_no.clone(), order.clone());
        Ok(order)
    }

    pub(crate) fn remove(&self, key: &OrderKey) -> Result<(), Error> {
        let mut tables = self.tables();
        let of_merchant = tables.orders.get_mut(&key.mch_id);
        let removed = of_merchant.and_then(|orders| orders.remove(&key.out_trade_no));
        let order = removed.ok_or_else(|| Error::UnknownOrder(key.out_trade_no.clone()))?;
        tables.count -= 1;
        if let Some(paid) = &order.paid {
            tables.by_transaction.remove(&paid.transaction_id);
        }
        for refund in &order.refunds {
            tables.by_refund.remove(&refund.key(&key.mch_id));
            tables.by_refund_id.remove(&refund.refund_id);
        }
        Ok(())
    }

    /// At most `limit` orders placed after the first `after`, and the place to continue from.
    pub(crate) fn page(&self, after: usize, limit: usize) -> (Vec<Arc<Order>>, usize) {
        let tables = self.tables();
        let mut next = after.min(tables.placed.len());
        let mut orders = Vec::with_capacity(limit.min(tables.count));
        for key in tables.placed.iter().skip(after) {
            if orders.len() == limit {
                break;
            }
            next += 1;
            orders.extend(tables.get(&key.mch_id, &key.out_trade_no));
        }
        (orders, next)
    }

    pub(crate) fn places(&self) -> usize {
        self.tables().placed.len()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Every change is whole or not made at all, also when a holder panics.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn get(&self, mch_id: &str, out_trade_no: &str) -> Option<Arc<Order>> {
        self.orders.get(mch_id)?.get(out_trade_no).cloned()
    }

    /// Refunds are only ever added at the end, one at a time.
    fn index_refunds(&mut self, order: &Order) -> Result<(), Error> {
        let Some(last) = order.refunds.last() else { return Ok(()) };
        let name = last.key(&order.key.mch_id);
        match self.by_refund.get(&name) {
            Some(out_trade_no) if *out_trade_no == order.key.out_trade_no => Ok(()),
            Some(_) => Err(Error::RefundNumberTaken(name.out_refund_no)),
            None => {
                self.by_refund_id.insert(last.refund_id.clone(), name.clone());
                self.by_refund.insert(name.clone(), order.key.out_trade_no.clone());
                self.refunded.push(name);
                Ok(())
            }
        }
    }
}
