//! Open events in groups that look alike.

use std::collections::BTreeMap;
use std::path::Path;

use oltr_store::group::{Group, Item, MAX_ITEMS, groups};
use oltr_store::{Listed, Reader, feature};
use serde_json::json;

use super::super::args::Common;
use super::super::exit::Exit;
use super::super::output::Output;
use super::super::store;
use super::super::table::{Align, Cell, Column, Shrink, Table, printable};

/// Groups of the newest open events without a review, and the class that each resembles.
///
/// # Errors
/// Errors of the store.
pub fn open_groups(reader: &Reader) -> anyhow::Result<Vec<(Group, String)>> {
    let mut items: std::collections::VecDeque<Item> = Default::default();
    let mut resembles: BTreeMap<u64, String> = BTreeMap::new();
    store::each(reader, &mut |listed: &Listed| {
        let record = &listed.record;
        if record.label.is_some() || listed.review.is_some() {
            return Ok(());
        }
        if items.len() >= MAX_ITEMS
            && let Some(item) = items.pop_front()
        {
            resembles.remove(&item.id);
        }
        resembles.insert(record.id, record.nearest.as_deref().unwrap_or("").into());
        let features = record.features.as_deref().and_then(feature::decode).unwrap_or_default();
        items.push_back(Item { id: record.id, features, limit: record.limit });
        Ok(())
    })?;
    let groups = groups(items.make_contiguous()).into_iter().map(|group| {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        group.ids.iter().filter_map(|id| resembles.get(id)).for_each(|class| *counts.entry(class).or_default() += 1);
        let most = counts.into_iter().max_by_key(|(_, n)| *n).map_or("", |(class, _)| class).to_string();
        (group, most)
    });
    Ok(groups.collect())
}

/// Runs the command.
pub fn run(dir: &Path, common: &Common) -> anyhow::Result<Exit> {
    let groups = open_groups(&store::open(dir)?)?;
    let mut out = Output::new();
    if common.json {
        for (place, (group, resembles)) in groups.iter().enumerate() {
            out.json(&json!({
                "schema": "oltr.group/1",
                "group": place,
                "size": group.ids.len(),
                "spread": group.spread,
                "resembles": resembles,
                "ids": group.ids,
            }))?;
        }
        return Ok(Exit::Success);
    }
    let rows: Vec<Vec<Cell>> = groups
        .iter()
        .map(|(group, resembles)| {
            let ids: Vec<String> = group.ids.iter().map(u64::to_string).collect();
            let (size, spread) = (group.ids.len().to_string(), format!("{:.2}", group.spread));
            vec![size.into(), spread.into(), printable(resembles).into_owned().into(), ids.join(",").into()]
        })
        .collect();
    let columns = vec![
        Column::new("EVENTS", Align::Right, Shrink::Never),
        Column::new("SPREAD", Align::Right, Shrink::Never).spare(1),
        Column::new("RESEMBLES", Align::Left, Shrink::Middle),
        Column::new("IDS", Align::Left, Shrink::Middle),
    ];
    let table = Table::fit(columns, &rows, out.width());
    out.line(&table.header())?;
    rows.iter().try_for_each(|row| out.line(&table.row(row)))?;
    Ok(Exit::Success)
}
