use wright_model::{Name, PackageId, VersionReq};

/// What resolving a site needs to know of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFacts {
    /// Which package.
    pub id: PackageId,
    /// The platform it runs on, such as `linux-x86_64`; `any` where it does not matter.
    pub platform: String,
}

/// The packages a site may use.
pub trait Catalog {
    /// The newest package that a requirement takes.
    fn newest(&self, req: &VersionReq) -> Option<PackageFacts>;

    /// Every version of a package, as text, oldest first. Empty: there is no such package.
    fn versions(&self, name: &Name) -> Vec<String>;

    /// The names of all packages, for suggestions.
    fn names(&self) -> Vec<Name>;
}

impl Catalog for [PackageFacts] {
    fn newest(&self, req: &VersionReq) -> Option<PackageFacts> {
        let fits = self
            .iter()
            .filter(|p| p.id.name == req.name && req.matches(p.id.version));
        fits.max_by_key(|p| (p.id.version, p.id.digest)).cloned()
    }

    fn versions(&self, name: &Name) -> Vec<String> {
        let mut versions: Vec<_> = self
            .iter()
            .filter(|p| p.id.name == *name)
            .map(|p| p.id.version)
            .collect();
        versions.sort();
        versions.dedup();
        versions.iter().map(ToString::to_string).collect()
    }

    fn names(&self) -> Vec<Name> {
        let mut names: Vec<_> = self.iter().map(|p| p.id.name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }
}

impl Catalog for Vec<PackageFacts> {
    fn newest(&self, req: &VersionReq) -> Option<PackageFacts> {
        self.as_slice().newest(req)
    }

    fn versions(&self, name: &Name) -> Vec<String> {
        self.as_slice().versions(name)
    }

    fn names(&self) -> Vec<Name> {
        self.as_slice().names()
    }
}
