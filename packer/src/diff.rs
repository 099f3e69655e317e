//! What differs between two packs: a comparison of their [summaries](crate::summary), value by value.

use std::fmt;

use copatch_spec::pack::PackError;
use serde::Serialize;
use serde_json::Value;

use crate::summary::summary;

/// Everything that differs between two packs, ascending by path; nothing if they are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The changes.
    pub changes: Vec<Change>,
}

/// A value that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where it stands in the summary: `["operations", "i64.add", "records"]`.
    pub path: Vec<String>,
    /// What the old pack has; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What the new pack has; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// Which of two files a fault is in.
#[derive(Debug)]
pub enum Side {
    /// The first.
    Old(PackError),
    /// The second.
    New(PackError),
}

/// Compares two packs. Packs with equal bytes have no differences; an operation counts as changed if the bits of one of its
/// records, domains or holes are.
///
/// # Errors
/// Which pack is not valid, and why.
pub fn diff(old: &[u8], new: &[u8]) -> Result<Diff, Side> {
    let mut diff = Diff::default();
    let value = |summary| serde_json::to_value(summary).unwrap_or_default();
    let before = value(summary(old).map_err(Side::Old)?);
    let after = value(summary(new).map_err(Side::New)?);
    compare(&mut Vec::new(), &before, &after, &mut diff.changes);
    if diff.changes.is_empty() && old != new {
        // What the summary leaves out: evaluators, constants, the order of rows.
        diff.changes.push(Change {
            path: vec!["bytes".to_owned()],
            old: Some(blake3::hash(old).to_string().into()),
            new: Some(blake3::hash(new).to_string().into()),
        });
    }
    Ok(diff)
}

/// Objects are compared by key, everything else as a whole.
fn compare(path: &mut Vec<String>, old: &Value, new: &Value, changes: &mut Vec<Change>) {
    let change = |path: &[String], old: Option<&Value>, new: Option<&Value>| Change {
        path: path.to_vec(),
        old: old.cloned(),
        new: new.cloned(),
    };
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        if old != new {
            changes.push(change(path, Some(old), Some(new)));
        }
        return;
    };
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        path.push(key.clone());
        match (before.get(key), after.get(key)) {
            (Some(old), Some(new)) => compare(path, old, new, changes),
            (old, new) => changes.push(change(path, old, new)),
        }
        path.pop();
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                let items = items.iter().map(|item| item.as_str().unwrap_or("?"));
                items.collect::<Vec<_>>().join(" ")
            }
            other => other.to_string(),
        };
        for change in &self.changes {
            let path = change.path.join(" ");
            match (&change.old, &change.new) {
                (Some(old), Some(new)) => writeln!(f, "{path}: {} -> {}", text(old), text(new))?,
                // A whole operation: its figures say nothing that its name does not.
                (None, Some(_)) => writeln!(f, "{path}: only in the new pack")?,
                _ => writeln!(f, "{path}: only in the old pack")?,
            }
        }
        Ok(())
    }
}
