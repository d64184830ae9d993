//! Orders in PostgreSQL. Each method is one transaction; a step is taken only from the state it belongs
//! to, so of two instances that try one succeeds. Events are written with the step they tell of.

use serde_json::json;
use shop::database::Database;
use shop::failure::Failure;
use shop::nouns::{Account, Item, Order, OrderRequest, OrderState, Quote};
use shop::outbox::Outbox;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Transaction};

pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS \"order\".orders (
    id text PRIMARY KEY, key text NOT NULL, account_id text NOT NULL, account text NOT NULL,
    address text NOT NULL, items text NOT NULL, quote text NOT NULL, state text NOT NULL,
    attempt int NOT NULL DEFAULT 1, pay_key text, reason text, tracking text,
    placed timestamptz NOT NULL DEFAULT now(), changed timestamptz NOT NULL DEFAULT now(),
    UNIQUE (account_id, key));
CREATE INDEX IF NOT EXISTS orders_account ON \"order\".orders (account_id, id DESC);
CREATE INDEX IF NOT EXISTS orders_open ON \"order\".orders (changed) WHERE state IN ('new', 'placed');
CREATE TABLE IF NOT EXISTS \"order\".releases (reservation text PRIMARY KEY);";

const COLUMNS: &str = "id, account, address, quote, state, reason, tracking,
    (extract(epoch FROM placed) * 1000)::bigint, attempt, pay_key, items";

/// An order with what only this app knows of it.
pub struct Entry {
    pub order: Order,
    /// Counts how often stock was reserved and payment asked for, from 1.
    pub attempt: i32,
    /// The key of the last attempt to pay.
    pub pay_key: Option<String>,
    pub items: Vec<Item>,
}

impl Entry {
    /// What stock and payment know this attempt by.
    pub fn attempt_id(&self) -> String {
        format!("{}-{}", self.order.id, self.attempt)
    }
}

#[derive(Clone)]
pub struct Ledger {
    pub database: Database,
    pub outbox: Outbox,
}

fn entry(row: &Row) -> Result<Entry, Failure> {
    Ok(Entry {
        order: Order {
            id: row.get(0),
            account: serde_json::from_str(row.get(1))?,
            address: row.get(2),
            quote: serde_json::from_str(row.get(3))?,
            state: serde_json::from_value(json!(row.get::<_, &str>(4)))?,
            reason: row.get(5),
            tracking: row.get(6),
            placed_ms: row.get(7),
        },
        attempt: row.get(8),
        pay_key: row.get(9),
        items: serde_json::from_str(row.get(10))?,
    })
}

impl Ledger {
    async fn select(
        &self,
        condition: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Entry>, Failure> {
        let statement = format!("SELECT {COLUMNS} FROM \"order\".orders WHERE {condition}");
        self.database
            .client()
            .await?
            .query(&statement, values)
            .await?
            .iter()
            .map(entry)
            .collect()
    }

    pub async fn entry(&self, id: &str) -> Result<Entry, Failure> {
        let found = self.select("id = $1", &[&id]).await?.pop();
        found.ok_or_else(|| Failure::NotFound(format!("no order {id}")))
    }

    pub async fn order(&self, id: &str) -> Result<Order, Failure> {
        Ok(self.entry(id).await?.order)
    }

    pub async fn by_key(&self, account: &Account, key: &str) -> Result<Option<Entry>, Failure> {
        Ok(self
            .select("account_id = $1 AND key = $2", &[&account.id, &key])
            .await?
            .pop())
    }

    pub async fn of_account(&self, account: &str) -> Result<Vec<Order>, Failure> {
        let entries = self
            .select("account_id = $1 ORDER BY id DESC LIMIT 50", &[&account])
            .await?;
        Ok(entries.into_iter().map(|entry| entry.order).collect())
    }

    /// Orders in `state` that nobody touched for `seconds`.
    pub async fn left(
        &self,
        state: OrderState,
        paying: bool,
        seconds: i64,
    ) -> Result<Vec<Entry>, Failure> {
        let condition = "state = $1 AND (pay_key IS NOT NULL) = $2
            AND changed < now() - $3::bigint * interval '1 second' ORDER BY changed LIMIT 50";
        self.select(condition, &[&state.as_str(), &paying, &seconds])
            .await
    }

    /// Writes a new order down, unless its key is known.
    pub async fn begin(
        &self,
        id: &str,
        request: &OrderRequest,
        quote: &Quote,
    ) -> Result<(), Failure> {
        let insert = "INSERT INTO \"order\".orders (id, key, account_id, account, address, items, quote, state)
            VALUES ($1, $2, $3, $4, $5, $6, $7, 'new') ON CONFLICT DO NOTHING";
        let (account, items) = (
            serde_json::to_string(&request.account)?,
            serde_json::to_string(&request.items)?,
        );
        let quote = serde_json::to_string(quote)?;
        let values: [&(dyn ToSql + Sync); 7] = [
            &id,
            &request.key,
            &request.account.id,
            &account,
            &request.address,
            &items,
            &quote,
        ];
        self.database
            .client()
            .await?
            .execute(insert, &values)
            .await?;
        Ok(())
    }

    /// Takes `entry` from one state to the next, and writes the event of it. False when it was not in
    /// that state, or its attempt is over.
    async fn step(
        &self,
        transaction: &Transaction<'_>,
        entry: &Entry,
        from: OrderState,
        to: OrderState,
        note: Note<'_>,
        event: Option<&str>,
    ) -> Result<bool, Failure> {
        let update = format!(
            "UPDATE \"order\".orders SET state = $4, reason = $5, tracking = $6, changed = now()
             WHERE id = $1 AND attempt = $2 AND state = $3 RETURNING {COLUMNS}"
        );
        let values: [&(dyn ToSql + Sync); 6] = [
            &entry.order.id,
            &entry.attempt,
            &from.as_str(),
            &to.as_str(),
            &note.reason,
            &note.tracking,
        ];
        let Some(row) = transaction.query_opt(&update, &values).await? else {
            return Ok(false);
        };
        if let Some(event) = event {
            self.outbox
                .write(transaction, event, &json!(self::entry(&row)?.order))
                .await?;
        }
        Ok(true)
    }

    pub async fn placed(&self, entry: &Entry) -> Result<bool, Failure> {
        self.single(
            entry,
            OrderState::New,
            OrderState::Placed,
            Note::default(),
            Some("order.placed"),
        )
        .await
    }

    pub async fn out_of_stock(&self, entry: &Entry, reason: &str) -> Result<bool, Failure> {
        let note = Note {
            reason: Some(reason),
            tracking: None,
        };
        self.single(entry, OrderState::New, OrderState::OutOfStock, note, None)
            .await
    }

    /// A refused order stays refused when the stock for another attempt is gone.
    pub async fn still_refused(&self, entry: &Entry, reason: &str) -> Result<bool, Failure> {
        let note = Note {
            reason: Some(reason),
            tracking: None,
        };
        self.single(
            entry,
            OrderState::New,
            OrderState::PaymentRefused,
            note,
            None,
        )
        .await
    }

    pub async fn paid(&self, entry: &Entry) -> Result<bool, Failure> {
        self.single(
            entry,
            OrderState::Placed,
            OrderState::Paid,
            Note::default(),
            Some("order.paid"),
        )
        .await
    }

    /// Shipped once, however often it is told.
    pub async fn shipped(&self, id: &str, tracking: &str) -> Result<(), Failure> {
        let entry = self.entry(id).await?;
        let note = Note {
            reason: None,
            tracking: Some(tracking),
        };
        let done = self
            .single(
                &entry,
                OrderState::Paid,
                OrderState::Shipped,
                note,
                Some("order.shipped"),
            )
            .await?;
        if done || self.order(id).await?.state == OrderState::Shipped {
            Ok(())
        } else {
            Err(Failure::Conflict(format!("order {id} is not paid")))
        }
    }

    async fn single(
        &self,
        entry: &Entry,
        from: OrderState,
        to: OrderState,
        note: Note<'_>,
        event: Option<&str>,
    ) -> Result<bool, Failure> {
        let mut client = self.database.client().await?;
        let transaction = client.transaction().await?;
        let done = self
            .step(&transaction, entry, from, to, note, event)
            .await?;
        transaction.commit().await?;
        if done && event.is_some() {
            self.outbox.wake();
        }
        Ok(done)
    }

    /// Ends an attempt: its stock is to be released, which is written down with it.
    pub async fn ended(
        &self,
        entry: &Entry,
        to: OrderState,
        reason: &str,
    ) -> Result<bool, Failure> {
        let mut client = self.database.client().await?;
        let transaction = client.transaction().await?;
        let event = (to == OrderState::PaymentRefused).then_some("payment.refused");
        let note = Note {
            reason: Some(reason),
            tracking: None,
        };
        let done = self
            .step(&transaction, entry, OrderState::Placed, to, note, event)
            .await?;
        if done {
            release(&transaction, &entry.attempt_id()).await?;
        }
        transaction.commit().await?;
        self.outbox.wake();
        Ok(done)
    }

    /// Stock that turned out not to be needed is to be released.
    pub async fn not_needed(&self, reservation: &str) -> Result<(), Failure> {
        let mut client = self.database.client().await?;
        let transaction = client.transaction().await?;
        release(&transaction, reservation).await?;
        Ok(transaction.commit().await?)
    }

    pub async fn to_release(&self) -> Result<Vec<String>, Failure> {
        let select = "SELECT reservation FROM \"order\".releases LIMIT 50";
        Ok(self
            .database
            .client()
            .await?
            .query(select, &[])
            .await?
            .iter()
            .map(|row| row.get(0))
            .collect())
    }

    pub async fn released(&self, reservation: &str) -> Result<(), Failure> {
        let delete = "DELETE FROM \"order\".releases WHERE reservation = $1";
        self.database
            .client()
            .await?
            .execute(delete, &[&reservation])
            .await?;
        Ok(())
    }

    /// Begins another attempt of a refused order.
    pub async fn again(&self, entry: &Entry) -> Result<bool, Failure> {
        let update = "UPDATE \"order\".orders
            SET state = 'new', attempt = attempt + 1, pay_key = NULL, reason = NULL, changed = now()
            WHERE id = $1 AND attempt = $2 AND state = 'payment-refused'";
        Ok(self
            .database
            .client()
            .await?
            .execute(update, &[&entry.order.id, &entry.attempt])
            .await?
            == 1)
    }

    /// Writes down that payment is about to be asked for. False when somebody else was first.
    pub async fn paying(&self, entry: &Entry, key: &str) -> Result<bool, Failure> {
        let update = "UPDATE \"order\".orders SET pay_key = $3, changed = now()
            WHERE id = $1 AND attempt = $2 AND state = 'placed' AND (pay_key IS NULL OR pay_key = $3)";
        Ok(self
            .database
            .client()
            .await?
            .execute(update, &[&entry.order.id, &entry.attempt, &key])
            .await?
            == 1)
    }
}

#[derive(Default, Clone, Copy)]
struct Note<'a> {
    reason: Option<&'a str>,
    tracking: Option<&'a str>,
}

async fn release(transaction: &Transaction<'_>, reservation: &str) -> Result<(), Failure> {
    let insert = "INSERT INTO \"order\".releases VALUES ($1) ON CONFLICT DO NOTHING";
    transaction.execute(insert, &[&reservation]).await?;
    Ok(())
}
