//! Who needs whom.
//!
//! The shape is that of Alibaba's published traces. From Luo et al., "Characterizing Microservice
//! Dependency and Performance: Alibaba Trace Analysis" (SoCC 2021): call graphs grow like trees, most
//! of them are shallow, and in-degrees have a heavy tail, so that a few apps are needed by very many.
//! From Winchester et al., "Complexity at Scale" (arXiv 2504.13141, table 1): 39 % of the apps call
//! nobody, and instances are spread unevenly. The tail comes from preferential attachment (Barabási
//! and Albert, 1999); its strength, the decay from layer to layer and the 5 % of apps that keep data
//! are choices of ours, not fits to the traces.

use rand::{Rng, RngExt as _};
use rand_distr::{Distribution as _, LogNormal};

use crate::Chance;

/// The part of the apps that need nothing.
const LEAVES: f64 = 0.39;
/// How many apps a layer has for each one of the layer below, from the second layer on.
const DECAY: f64 = 0.65;
/// The part of the apps that keep data; they need nothing.
const STORES: f64 = 0.05;
/// How much more a store is needed than another app, before anybody needs it.
const STORE_WEIGHT: u32 = 8;
/// How likely an app needs one more, again and again: it needs three in the mean, beside the first.
const ONE_MORE: f64 = 0.65;
/// The most apps that one needs.
const MOST_NEEDS: usize = 12;
/// The spread of instances over apps: the standard deviation of the logarithm of their numbers.
const UNEVEN: f64 = 0.8;
/// The most instances of an app that keeps data.
const STORE_INSTANCES: u32 = 3;
/// The most instances of an app.
const MOST_INSTANCES: u32 = 1000;

/// What a site shall be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphWant {
    /// How many apps.
    pub apps: usize,
    /// How many instances in all.
    pub instances: u32,
    /// How many layers; an app is a layer above what it needs.
    pub layers: usize,
    /// Where everything random comes from.
    pub seed: u64,
}

/// An app of a generated site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its name.
    pub name: String,
    /// 0: needs nothing.
    pub layer: usize,
    /// The apps it needs, by their places in [`Blueprint::apps`], all in layers below.
    pub needs: Vec<usize>,
    /// How many instances.
    pub instances: u32,
    /// Whether it keeps data.
    pub store: bool,
    /// What an instance takes, thousandths of a processor.
    pub cpu_millis: u32,
    /// What an instance takes, MiB.
    pub memory_mib: u32,
}

/// A generated site, before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blueprint {
    /// Its apps, those that need nothing first.
    pub apps: Vec<App>,
}

/// A site that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Every layer needs an app.
    #[error("{layers} layers need at least as many apps, there are {apps}")]
    TooFewApps {
        /// How many layers were asked for.
        layers: usize,
        /// How many apps.
        apps: usize,
    },
    /// There must be something.
    #[error("a site has at least one layer")]
    NoLayers,
    /// Every app has an instance.
    #[error("{apps} apps have from {apps} to {most} instances, {instances} were asked for")]
    Instances {
        /// How many apps were asked for.
        apps: usize,
        /// How many instances.
        instances: u32,
        /// How many they may have.
        most: u64,
    },
}

impl Blueprint {
    /// Makes one; the same wish gives the same site.
    ///
    /// # Errors
    /// Where there are fewer apps than layers, or fewer instances than apps.
    pub fn generate(want: &GraphWant) -> Result<Self, GraphError> {
        let GraphWant { apps, layers, .. } = *want;
        if layers == 0 {
            return Err(GraphError::NoLayers);
        }
        if apps < layers {
            return Err(GraphError::TooFewApps { layers, apps });
        }
        let chance = Chance::new(want.seed);
        let sizes = layer_sizes(apps, layers);
        let stores = ((apps as f64 * STORES).round() as usize).min(sizes[0]);
        let mut made: Vec<App> = Vec::with_capacity(apps);
        let mut wanted = vec![0_u32; apps];
        let mut below = 0;
        for (layer, size) in sizes.iter().enumerate() {
            let begin = made.len();
            for number in 0..*size {
                let store = layer == 0 && number < stores;
                let name = name(layer, layers, number, store);
                let mut rng = chance.of(&["app", &name]);
                let needs = if layer == 0 {
                    Vec::new()
                } else {
                    needs(&mut rng, &made, &wanted, below..begin)
                };
                for need in &needs {
                    wanted[*need] += 1;
                }
                made.push(App {
                    name,
                    layer,
                    needs,
                    instances: 0,
                    store,
                    cpu_millis: [50, 100, 100, 250, 500][rng.random_range(0..5)],
                    memory_mib: [64, 128, 128, 256, 512][rng.random_range(0..5)],
                });
            }
            below = begin;
        }
        deal_out(&mut made, want.instances, chance)?;
        Ok(Blueprint { apps: made })
    }
}

/// How many apps each layer has: at least one, and fewer and fewer from the second on.
fn layer_sizes(apps: usize, layers: usize) -> Vec<usize> {
    let mut sizes = vec![1; layers];
    if layers == 1 {
        return vec![apps];
    }
    let mut left = apps - layers;
    let leaves = ((apps as f64 * LEAVES) as usize)
        .saturating_sub(1)
        .min(left);
    sizes[0] += leaves;
    left -= leaves;
    let weights: Vec<f64> = (1..layers).map(|layer| DECAY.powi(layer as i32)).collect();
    let total: f64 = weights.iter().sum();
    let shares = weights
        .iter()
        .map(|weight| (left as f64 * weight / total) as usize);
    let shares: Vec<usize> = shares.collect();
    for (size, share) in sizes[1..].iter_mut().zip(&shares) {
        *size += share;
    }
    // What rounding left over.
    sizes[1] += left - shares.iter().sum::<usize>();
    sizes
}

fn name(layer: usize, layers: usize, number: usize, store: bool) -> String {
    let number = number + 1;
    match layer {
        _ if store => format!("store-{number}"),
        0 => format!("base-{number}"),
        layer if layer + 1 == layers => format!("edge-{number}"),
        layer => format!("mid{layer}-{number}"),
    }
}

/// What an app needs: one of the layer right below, which makes its layer, and some of all below, those
/// that many need already the more likely.
fn needs(
    rng: &mut impl Rng,
    made: &[App],
    wanted: &[u32],
    right_below: std::ops::Range<usize>,
) -> Vec<usize> {
    let weight = |app: usize| wanted[app] + if made[app].store { STORE_WEIGHT } else { 1 };
    let below = 0..right_below.end;
    let mut needs = vec![pick(rng, right_below, weight)];
    while needs.len() < MOST_NEEDS && rng.random::<f64>() < ONE_MORE {
        let need = pick(rng, below.clone(), weight);
        if !needs.contains(&need) {
            needs.push(need);
        }
    }
    needs.sort_unstable();
    needs
}

fn pick(rng: &mut impl Rng, among: std::ops::Range<usize>, weight: impl Fn(usize) -> u32) -> usize {
    let total: u64 = among.clone().map(|app| u64::from(weight(app))).sum();
    let mut left = rng.random_range(0..total.max(1));
    for app in among.clone() {
        let own = u64::from(weight(app));
        if left < own {
            return app;
        }
        left -= own;
    }
    among.start
}

/// Deals the instances out: few apps have many, and each has one.
fn deal_out(apps: &mut [App], instances: u32, chance: Chance) -> Result<(), GraphError> {
    let most = |app: &App| {
        if app.store {
            STORE_INSTANCES
        } else {
            MOST_INSTANCES
        }
    };
    let bound: u64 = apps.iter().map(|app| u64::from(most(app))).sum();
    let fits = (apps.len() as u64..=bound).contains(&u64::from(instances));
    if !fits {
        return Err(GraphError::Instances {
            apps: apps.len(),
            instances,
            most: bound,
        });
    }
    let spread = LogNormal::new(0.0, UNEVEN).ok();
    let weights: Vec<f64> = apps
        .iter()
        .map(|app| {
            let mut rng = chance.of(&["instances", &app.name]);
            spread
                .as_ref()
                .map_or(1.0, |spread| spread.sample(&mut rng))
        })
        .collect();
    let mut left = u64::from(instances) - apps.len() as u64;
    apps.iter_mut().for_each(|app| app.instances = 1);
    // Whoever is full leaves the rest to the others, so it may take several rounds.
    while left > 0 {
        let open = |app: &App| app.instances < most(app);
        let total: f64 = apps
            .iter()
            .zip(&weights)
            .filter(|(app, _)| open(app))
            .map(|(_, weight)| weight)
            .sum();
        let round = left as f64;
        for (app, weight) in apps.iter_mut().zip(&weights) {
            let room = most(app) - app.instances;
            let share = ((round * weight / total).ceil() as u32).min(room);
            let share = share.min(u32::try_from(left).unwrap_or(u32::MAX));
            app.instances += share;
            left -= u64::from(share);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(apps: usize, instances: u32, layers: usize) -> Blueprint {
        let seed = 11;
        Blueprint::generate(&GraphWant {
            apps,
            instances,
            layers,
            seed,
        })
        .unwrap()
    }

    #[test]
    fn it_has_what_was_asked_for() {
        for (apps, instances, layers) in
            [(1, 1, 1), (12, 40, 12), (500, 5000, 10), (2000, 20_000, 10)]
        {
            let made = site(apps, instances, layers);
            assert_eq!(made.apps.len(), apps);
            let count: u32 = made.apps.iter().map(|app| app.instances).sum();
            assert_eq!(count, instances);
            let top = made.apps.iter().map(|app| app.layer).max().unwrap();
            assert_eq!(top + 1, layers);
        }
    }

    #[test]
    fn an_app_is_one_layer_above_the_highest_that_it_needs() {
        let made = site(500, 5000, 10);
        for app in &made.apps {
            let highest = app
                .needs
                .iter()
                .map(|need| made.apps[*need].layer + 1)
                .max();
            assert_eq!(highest.unwrap_or(0), app.layer, "{}", app.name);
        }
    }

    #[test]
    fn a_few_apps_are_needed_by_very_many_and_most_by_few() {
        let made = site(2000, 20_000, 10);
        let mut wanted = vec![0; made.apps.len()];
        made.apps
            .iter()
            .flat_map(|app| &app.needs)
            .for_each(|need| wanted[*need] += 1);
        wanted.sort_unstable();
        let (median, top) = (wanted[1000], wanted[1999]);
        assert!(median <= 2 && top >= 20, "median {median}, top {top}");
    }

    #[test]
    fn stores_are_few_and_need_nothing() {
        let made = site(500, 5000, 10);
        let stores: Vec<&App> = made.apps.iter().filter(|app| app.store).collect();
        assert_eq!(stores.len(), 25);
        assert!(
            stores
                .iter()
                .all(|app| app.needs.is_empty() && app.instances <= 3)
        );
    }

    #[test]
    fn another_seed_gives_another_site_and_the_same_seed_the_same() {
        let with = |seed| {
            Blueprint::generate(&GraphWant {
                apps: 40,
                instances: 100,
                layers: 5,
                seed,
            })
            .unwrap()
        };
        assert_eq!(with(1), with(1));
        assert_ne!(with(1), with(2));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |apps, instances, layers| {
            let seed = 1;
            Blueprint::generate(&GraphWant {
                apps,
                instances,
                layers,
                seed,
            })
            .unwrap_err()
        };
        assert_eq!(
            refused(3, 9, 4),
            GraphError::TooFewApps { layers: 4, apps: 3 }
        );
        assert!(matches!(refused(9, 3, 2), GraphError::Instances { .. }));
        assert_eq!(refused(9, 9, 0), GraphError::NoLayers);
    }
}
