use wright_model::{PackageId, VersionReq};

/// A package that a site may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Which package.
    pub id: PackageId,
    /// The platform it runs on, such as `linux-x86_64`; `any` where it does not matter.
    pub platform: String,
}

/// The packages a site may use.
pub trait Catalog {
    /// The newest package that a requirement takes.
    fn newest(&self, wanted: &VersionReq) -> Option<Offer>;

    /// Every package, for suggestions.
    fn packages(&self) -> Vec<PackageId>;
}

impl Catalog for Vec<Offer> {
    fn newest(&self, wanted: &VersionReq) -> Option<Offer> {
        let fits =
            |offer: &&Offer| offer.id.name == wanted.name && wanted.matches(offer.id.version);
        self.iter()
            .filter(fits)
            .max_by_key(|offer| (offer.id.version, offer.id.digest))
            .cloned()
    }

    fn packages(&self) -> Vec<PackageId> {
        self.iter().map(|offer| offer.id.clone()).collect()
    }
}
