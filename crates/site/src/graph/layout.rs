//! A layered layout (after Sugiyama, Tagawa and Toda, 1981): a column for each layer; needs that
//! skip columns pass through them in lanes of their own; columns ordered by the barycentre of their
//! neighbours to keep crossings few, then moved towards them to keep lines straight.

use std::collections::BTreeMap;

use super::Topology;

pub(super) const BOX_WIDTH: f64 = 168.0;
pub(super) const BOX_HEIGHT: f64 = 44.0;
pub(super) const GAP_X: f64 = 88.0;
const LANE_HEIGHT: f64 = 6.0;
const GAP_Y: f64 = 18.0;
const MARGIN: f64 = 24.0;
const SWEEPS: usize = 12;

/// Where everything is drawn.
pub(super) struct Layout {
    pub width: f64,
    pub height: f64,
    /// Left edge and middle of every app's box, in the order of [`Topology::apps`].
    pub boxes: Vec<(f64, f64)>,
    /// For every need that points to a lower layer, in the order of [`Topology::needs`]: the left
    /// edges and middles it passes through, both ends included. Empty for the others.
    pub ways: Vec<Vec<(f64, f64)>>,
}

/// An app, or the lane of a need through a layer that it skips.
struct Item {
    layer: usize,
    height: f64,
    /// Items in the layer above and in the layer below that a line joins it with.
    above: Vec<usize>,
    below: Vec<usize>,
    middle: f64,
}

fn item(layer: usize, height: f64) -> Item {
    Item {
        layer,
        height,
        above: Vec::new(),
        below: Vec::new(),
        middle: 0.0,
    }
}

fn mean(of: &[usize], value: impl Fn(usize) -> f64) -> Option<f64> {
    let sum: f64 = of.iter().map(|index| value(*index)).sum();
    (!of.is_empty()).then(|| sum / of.len() as f64)
}

pub(super) fn layout(topology: &Topology) -> Layout {
    let mut items: Vec<Item> = topology
        .apps
        .iter()
        .map(|node| item(node.layer as usize, BOX_HEIGHT))
        .collect();
    let chains = chains(topology, &mut items);
    let depth = items.iter().map(|item| item.layer + 1).max().unwrap_or(0);
    let mut columns = vec![Vec::new(); depth];
    for (index, item) in items.iter().enumerate() {
        columns[item.layer].push(index);
    }
    order(&mut columns, &items);
    place(&columns, &mut items);

    let top = items
        .iter()
        .map(|item| item.middle - item.height / 2.0)
        .fold(f64::INFINITY, f64::min);
    let top = if top.is_finite() { top } else { 0.0 };
    let bottom = items
        .iter()
        .map(|item| item.middle + item.height / 2.0)
        .fold(top, f64::max);
    // What needs nothing is on the right; who needs it is left of it.
    let left = |layer: usize| MARGIN + (depth - 1 - layer) as f64 * (BOX_WIDTH + GAP_X);
    let point = |index: &usize| {
        (
            left(items[*index].layer),
            items[*index].middle - top + MARGIN,
        )
    };
    let columns_width = depth as f64 * (BOX_WIDTH + GAP_X) - GAP_X;
    Layout {
        width: MARGIN * 2.0 + columns_width.max(0.0),
        height: MARGIN * 2.0 + bottom - top,
        boxes: (0..topology.apps.len())
            .map(|index| point(&index))
            .collect(),
        ways: chains
            .iter()
            .map(|chain| chain.iter().map(point).collect())
            .collect(),
    }
}

/// The items each need passes through; adds the lanes.
fn chains(topology: &Topology, items: &mut Vec<Item>) -> Vec<Vec<usize>> {
    let index: BTreeMap<&str, usize> = topology
        .apps
        .iter()
        .enumerate()
        .map(|(i, node)| (node.app.as_str(), i))
        .collect();
    let mut chains = Vec::new();
    for edge in &topology.needs {
        let ends = (index.get(edge.from.as_str()), index.get(edge.to.as_str()));
        let mut chain = Vec::new();
        if let (Some(&from), Some(&to)) = ends
            && items[from].layer > items[to].layer
        {
            chain.push(from);
            for layer in (items[to].layer + 1..items[from].layer).rev() {
                chain.push(items.len());
                items.push(item(layer, LANE_HEIGHT));
            }
            chain.push(to);
            for pair in chain.windows(2) {
                items[pair[0]].below.push(pair[1]);
                items[pair[1]].above.push(pair[0]);
            }
        }
        chains.push(chain);
    }
    chains
}

fn order(columns: &mut [Vec<usize>], items: &[Item]) {
    let mut row = vec![0.0; items.len()];
    let number = |column: &[usize], row: &mut Vec<f64>| {
        for (position, index) in column.iter().enumerate() {
            // Centred, so that short and long columns compare.
            row[*index] = position as f64 - (column.len() as f64 - 1.0) / 2.0;
        }
    };
    columns.iter().for_each(|column| number(column, &mut row));
    for sweep in 0..SWEEPS {
        let up = sweep % 2 == 0;
        let layers: Vec<usize> = if up {
            (0..columns.len()).collect()
        } else {
            (0..columns.len()).rev().collect()
        };
        for layer in layers {
            let centre = |index: usize| {
                let near = if up {
                    &items[index].below
                } else {
                    &items[index].above
                };
                mean(near, |other| row[other]).unwrap_or(row[index])
            };
            let mut keyed: Vec<(f64, usize)> = columns[layer]
                .iter()
                .map(|index| (centre(*index), *index))
                .collect();
            // Stable: equals stay in the order they have.
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            columns[layer] = keyed.into_iter().map(|(_, index)| index).collect();
            number(&columns[layer], &mut row);
        }
    }
}

/// Moves every column towards its neighbours, keeping order and distance.
fn place(columns: &[Vec<usize>], items: &mut [Item]) {
    for column in columns {
        let mut y = 0.0;
        for &index in column {
            items[index].middle = y + items[index].height / 2.0;
            y += items[index].height + GAP_Y;
        }
        let used = y - GAP_Y;
        column
            .iter()
            .for_each(|index| items[*index].middle -= used / 2.0);
    }
    for sweep in 0..SWEEPS {
        let forth = sweep % 2 == 0;
        let layers: Vec<usize> = if forth {
            (0..columns.len()).collect()
        } else {
            (0..columns.len()).rev().collect()
        };
        for layer in layers {
            let column = &columns[layer];
            let wish: Vec<f64> = column
                .iter()
                .map(|index| {
                    let near = [items[*index].below.as_slice(), &items[*index].above].concat();
                    mean(&near, |other| items[other].middle).unwrap_or(items[*index].middle)
                })
                .collect();
            let mut free = f64::NEG_INFINITY;
            let mut over = 0.0;
            for (&index, wish) in column.iter().zip(&wish) {
                let half = items[index].height / 2.0;
                items[index].middle = wish.max(free + half);
                free = items[index].middle + half + GAP_Y;
                over += items[index].middle - wish;
            }
            let over = over / column.len().max(1) as f64;
            column.iter().for_each(|index| items[*index].middle -= over);
        }
    }
}
