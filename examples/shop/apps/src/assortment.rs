//! What the shop sells when it opens: six categories of ten products.

/// A category: slug, title, line, motif, hue.
pub const CATEGORIES: [(&str, &str, &str, &str, u16); 6] = [
    (
        "kitchen",
        "Kitchen & Table",
        "Stoneware, wood and steel for every day",
        "teapot",
        18,
    ),
    (
        "lighting",
        "Lighting",
        "Warm light for long evenings",
        "pendant",
        42,
    ),
    ("audio", "Audio", "Listen properly", "headphones", 265),
    (
        "desk",
        "Desk & Paper",
        "Good tools for thinking",
        "notebook",
        205,
    ),
    (
        "garden",
        "Garden",
        "For windowsills and wide fields",
        "plant",
        140,
    ),
    ("bags", "Bags", "Carry what matters", "backpack", 340),
];

/// A product of the first assortment.
#[derive(Debug, Clone, Copy)]
pub struct Seed {
    /// Identity.
    pub sku: &'static str,
    /// Its category's slug.
    pub category: &'static str,
    /// Name.
    pub name: &'static str,
    /// What its picture shows.
    pub motif: &'static str,
    /// List price in cents.
    pub price_cents: i64,
    /// How many there are at first.
    pub stock: i64,
    /// Description.
    pub description: &'static str,
}

const fn seed(
    category: &'static str,
    sku: &'static str,
    name: &'static str,
    motif: &'static str,
    price_cents: i64,
    description: &'static str,
) -> Seed {
    Seed {
        sku,
        category,
        name,
        motif,
        price_cents,
        stock: 200,
        description,
    }
}

/// The same for a product made once: it is never reordered.
const fn limited(seed: Seed, stock: i64) -> Seed {
    Seed { stock, ..seed }
}

/// Whether a seed is reordered when it runs low.
#[must_use]
pub fn is_reordered(seed: &Seed) -> bool {
    seed.stock >= 200
}

/// The products.
// One product a line reads like the list it is.
#[rustfmt::skip]
pub const PRODUCTS: [Seed; 60] = [
    seed("kitchen", "mug-speckled", "Speckled Mug", "mug", 1650, "Hand-thrown stoneware with a glaze that breaks over the rim. Holds 350 ml and fits a small hand as well as a large one."),
    seed("kitchen", "mug-espresso", "Espresso Cup", "mug", 1290, "Thick walls keep a short coffee hot. Stacks four high."),
    seed("kitchen", "teapot-round", "Round Teapot", "teapot", 5900, "A pot for four cups with a spout that does not drip. Comes with a steel sieve."),
    seed("kitchen", "bowl-breakfast", "Breakfast Bowl", "bowl", 1890, "Deep enough for porridge, wide enough for soup."),
    seed("kitchen", "bowl-serving", "Serving Bowl", "bowl", 4200, "For salad in summer and potatoes in winter. Twenty-eight centimetres across."),
    seed("kitchen", "pan-iron", "Cast Iron Pan", "pan", 7400, "Ready seasoned and good for a hundred years. Works on every stove and over a fire."),
    seed("kitchen", "pan-small", "Small Skillet", "pan", 4600, "Two eggs, one hand. Carbon steel, light and quick to heat."),
    seed("kitchen", "board-oak", "Oak Board", "board", 3900, "One piece of slow-grown oak, oiled twice. Turn it over to serve cheese."),
    seed("kitchen", "board-walnut", "Walnut Board", "board", 5200, "End-grain walnut, kind to knives. With a groove for juice."),
    limited(seed("kitchen", "teapot-anniversary", "Anniversary Teapot", "teapot", 14900, "Made once, for our tenth year, and numbered by hand. When these are gone they are gone."), 5),
    seed("lighting", "pendant-dome", "Dome Pendant", "pendant", 12900, "Spun aluminium, matt outside and pale inside, for light that falls where the table is."),
    seed("lighting", "pendant-small", "Bell Pendant", "pendant", 8900, "A small bell for kitchens and corners. Hang three in a row."),
    seed("lighting", "lamp-desk", "Desk Lamp", "lamp", 9800, "Moves with one finger and stays where you leave it. Three brightness steps."),
    seed("lighting", "lamp-bedside", "Bedside Lamp", "lamp", 6400, "A linen shade and a switch you find in the dark."),
    seed("lighting", "lamp-reading", "Reading Lamp", "lamp", 11200, "Reaches over the arm of any chair. The head turns all the way round."),
    seed("lighting", "lantern-porch", "Porch Lantern", "lantern", 7600, "Galvanised steel and real glass. Does not mind rain."),
    seed("lighting", "lantern-camp", "Camp Lantern", "lantern", 4900, "Sixty hours on one charge and a hook on top."),
    seed("lighting", "candle-beeswax", "Beeswax Candles", "candle", 1800, "Six candles from a beekeeper down the road. They smell of honey, faintly."),
    seed("lighting", "candle-tall", "Tall Candle", "candle", 950, "Burns for nine hours without a tear."),
    limited(seed("lighting", "pendant-glass", "Blown Glass Pendant", "pendant", 24900, "Blown in one afternoon by one person. No two hang alike, and there are only a few."), 12),
    seed("audio", "headphones-studio", "Studio Headphones", "headphones", 18900, "Closed, calm and honest. Every part can be replaced with one screwdriver."),
    seed("audio", "headphones-light", "Travel Headphones", "headphones", 12900, "Forty hours of music, and silence when you want it."),
    seed("audio", "speaker-shelf", "Shelf Speaker", "speaker", 22900, "A small box with a large room inside. Sold one by one: two make a stage."),
    seed("audio", "speaker-portable", "Portable Speaker", "speaker", 8900, "Loud enough for a garden, light enough for a bicycle."),
    seed("audio", "speaker-kitchen", "Kitchen Speaker", "speaker", 7400, "Wipes clean and starts with one button."),
    seed("audio", "turntable-belt", "Belt Turntable", "turntable", 32900, "A heavy platter, a straight arm, and nothing else to go wrong."),
    seed("audio", "turntable-first", "First Turntable", "turntable", 17900, "Everything needed for the first record, in one box."),
    seed("audio", "radio-kitchen", "Kitchen Radio", "radio", 9900, "Five buttons for five stations and a knob that feels right."),
    seed("audio", "radio-travel", "Travel Radio", "radio", 5900, "The world on two batteries."),
    limited(seed("audio", "speaker-master", "Master Speaker", "speaker", 249000, "Our largest speaker, in walnut, tuned by ear. Needs two people and a good floor."), 8),
    seed("desk", "notebook-dotted", "Dotted Notebook", "notebook", 1450, "Lies flat from the first page. 192 pages of paper that takes ink without bleeding."),
    seed("desk", "notebook-pocket", "Pocket Notebook", "notebook", 790, "Rounded corners, sewn, and just smaller than a pocket."),
    seed("desk", "notebook-ledger", "Ledger", "notebook", 2400, "Numbered pages and a cloth cover, for things that should last."),
    seed("desk", "pen-brass", "Brass Pen", "pen", 3900, "Solid brass that darkens where you hold it. Takes any standard refill."),
    seed("desk", "pen-fountain", "Fountain Pen", "pen", 6400, "A steel nib with some spring in it, and a converter in the box."),
    seed("desk", "clock-wall", "Wall Clock", "clock", 7900, "Silent hands and numerals you can read from the door."),
    seed("desk", "clock-desk", "Desk Clock", "clock", 4400, "Small, round and without a screen."),
    seed("desk", "tray-letter", "Letter Tray", "tray", 3200, "Birch plywood. Stack as many as you have letters."),
    seed("desk", "tray-pen", "Pen Tray", "tray", 1900, "A place for the pen you always look for."),
    limited(seed("desk", "clock-regulator", "Regulator Clock", "clock", 18900, "A mechanical movement behind glass, adjusted for a week before it leaves us."), 6),
    seed("garden", "plant-monstera", "Monstera", "plant", 3400, "A young plant in a clay pot. Likes light from the side and water on Sundays."),
    seed("garden", "plant-fern", "Sword Fern", "plant", 1900, "For the bathroom window. Forgives almost everything but drought."),
    seed("garden", "plant-olive", "Olive Tree", "plant", 5900, "Eighty centimetres tall, and patient."),
    seed("garden", "can-steel", "Watering Can", "can", 4200, "Balanced full and empty. The rose comes off for pots."),
    seed("garden", "can-small", "Indoor Can", "can", 2600, "A long, thin spout reaches behind the leaves."),
    seed("garden", "house-wren", "Wren House", "birdhouse", 2900, "Larch, unpainted, with the right hole. Opens for cleaning in winter."),
    seed("garden", "house-tit", "Tit House", "birdhouse", 3100, "Hang it facing east in February and wait."),
    seed("garden", "trowel-ash", "Ash Trowel", "trowel", 2200, "A forged blade and a handle of ash. Will outlive the garden."),
    seed("garden", "trowel-bulb", "Bulb Planter", "trowel", 2700, "Marks on the blade show how deep."),
    limited(seed("garden", "plant-bonsai", "Bonsai Pine", "plant", 22000, "Twelve years old and shaped every spring. Each is different; choose quickly."), 5),
    seed("bags", "backpack-day", "Day Pack", "backpack", 9800, "Waxed canvas, eighteen litres, one good zip."),
    seed("bags", "backpack-city", "City Pack", "backpack", 12900, "A padded sleeve inside and nothing dangling outside."),
    seed("bags", "backpack-trail", "Trail Pack", "backpack", 15900, "Thirty litres, taped seams and a belt that carries the weight."),
    seed("bags", "tote-canvas", "Canvas Tote", "tote", 3400, "Heavy canvas and handles long enough for a winter coat."),
    seed("bags", "tote-market", "Market Tote", "tote", 2800, "Stands open by itself while you fill it."),
    seed("bags", "tote-leather", "Leather Tote", "tote", 18900, "Vegetable-tanned, unlined, better in ten years."),
    seed("bags", "duffel-weekend", "Weekend Duffel", "duffel", 13900, "Two shirts, two books, one pair of boots."),
    seed("bags", "duffel-sport", "Sport Duffel", "duffel", 6900, "A pocket for wet things, far away from dry things."),
    seed("bags", "wallet-card", "Card Wallet", "wallet", 3600, "Six cards and a folded note, one piece of leather."),
    limited(seed("bags", "duffel-archive", "Archive Duffel", "duffel", 29900, "Cut from the last roll of a cloth that is no longer woven."), 7),
];

/// The hue of a product's picture: that of its category, turned a little further for each product.
#[must_use]
pub fn hue(seed: &Seed) -> u16 {
    let base = CATEGORIES
        .iter()
        .find(|(slug, ..)| *slug == seed.category)
        .map_or(0, |category| category.4);
    let place = PRODUCTS
        .iter()
        .filter(|other| other.category == seed.category)
        .position(|other| other.sku == seed.sku)
        .and_then(|place| u16::try_from(place).ok())
        .unwrap_or_default();
    // Neighbours differ by 37 degrees; all stay within 45 of the category's own hue.
    (base + 315 + place * 37 % 90) % 360
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_product_is_unique_has_a_category_and_a_picture() {
        let skus: HashSet<_> = PRODUCTS.iter().map(|seed| seed.sku).collect();
        assert_eq!(skus.len(), PRODUCTS.len());
        for seed in &PRODUCTS {
            assert!(
                CATEGORIES
                    .iter()
                    .any(|category| category.0 == seed.category),
                "{}",
                seed.sku
            );
            assert!(crate::pictures::knows(seed.motif), "{}", seed.motif);
        }
        assert!(
            CATEGORIES
                .iter()
                .all(|category| crate::pictures::knows(category.3))
        );
    }
}
