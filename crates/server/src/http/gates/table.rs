use wright_access::Act::{self, Administer, Approve, Operate, Read, SeeSecrets, Write};

use super::{
    Answer::{self, Item, List, Open, Stream, Within},
    Endpoint,
    Gate::{self, Anybody, Known, Needs, NeedsWhole},
    On::{All, Instance, One, Resource, Some as Any},
    Shape,
};

/// What only reads.
const fn get(path: &'static str, gate: Gate, answer: Answer) -> Endpoint {
    Endpoint {
        method: "GET",
        path,
        gate,
        answer,
        audited: None,
    }
}

/// What changes something.
const fn change(
    method: &'static str,
    path: &'static str,
    audited: Act,
    gate: Gate,
    answer: Answer,
) -> Endpoint {
    Endpoint {
        method,
        path,
        gate,
        answer,
        audited: Some(audited),
    }
}

/// A step into a job.
const fn job(path: &'static str, act: Act) -> Endpoint {
    change(
        "POST",
        path,
        act,
        Needs(act, One("job", "job")),
        Item(Shape::Job),
    )
}

/// What the status of a site is made of.
const STATUS: &[&str] = &["instance", "job"];
/// What explanations and reports are made of.
const EXPLANATION: &[&str] = &["instance", "job", "host", "package"];

/// What each endpoint needs, and what its answer is made of.
pub const TABLE: &[Endpoint] = &[
    change("POST", "/login", Administer, Anybody, Open),
    change("POST", "/login/oidc", Write, Anybody, Open),
    change("POST", "/login/oidc/back", Write, Anybody, Open),
    change("POST", "/logout", Administer, Known, Open),
    get("/whoami", Known, Open),
    get("/can", Known, Open),
    get("/tokens", Known, Open),
    change("POST", "/tokens", Administer, Known, Open),
    change("DELETE", "/tokens/{token}", Administer, Known, Open),
    change(
        "POST",
        "/users",
        Administer,
        Needs(Write, All("user")),
        Open,
    ),
    change(
        "PUT",
        "/users/{user}",
        Administer,
        Needs(Write, One("user", "user")),
        Open,
    ),
    change("PUT", "/users/{user}/password", Administer, Known, Open),
    get("/audit", Needs(Read, All("audit")), Open),
    Endpoint {
        method: "POST",
        path: "/plans",
        gate: NeedsWhole(Operate, Any("site"), &["host", "package"]),
        answer: Open,
        audited: None,
    },
    change(
        "POST",
        "/sites",
        Operate,
        NeedsWhole(Operate, Any("site"), &["host", "package"]),
        Open,
    ),
    get("/sites", Known, List(Shape::Site)),
    get(
        "/sites/{site}",
        NeedsWhole(Read, One("site", "site"), STATUS),
        Open,
    ),
    change(
        "POST",
        "/sites/{site}/down",
        Operate,
        NeedsWhole(Operate, One("site", "site"), EXPLANATION),
        Open,
    ),
    get(
        "/sites/{site}/explain",
        NeedsWhole(Read, One("site", "site"), EXPLANATION),
        Open,
    ),
    get(
        "/sites/{site}/explain/{instance}",
        NeedsWhole(Read, One("site", "site"), EXPLANATION),
        Open,
    ),
    get(
        "/sites/{site}/report",
        NeedsWhole(Read, One("site", "site"), EXPLANATION),
        Open,
    ),
    get("/jobs", Known, List(Shape::Job)),
    get(
        "/jobs/{job}",
        Needs(Read, One("job", "job")),
        Item(Shape::Job),
    ),
    get(
        "/jobs/{job}/watch",
        NeedsWhole(Read, One("job", "job"), &["job"]),
        Open,
    ),
    job("/jobs/{job}/retry", Operate),
    job("/jobs/{job}/cancel", Operate),
    job("/jobs/{job}/pause", Operate),
    job("/jobs/{job}/resume", Operate),
    job("/jobs/{job}/skip", Operate),
    job("/jobs/{job}/answer", Approve),
    get("/hosts", Known, List(Shape::Host)),
    change("POST", "/hosts", Operate, Needs(Operate, All("host")), Open),
    get(
        "/hosts/{host}",
        Needs(Read, One("host", "host")),
        Item(Shape::Host),
    ),
    change(
        "POST",
        "/hosts/{host}/kill",
        Operate,
        Needs(Operate, One("host", "host")),
        Open,
    ),
    get("/packages", Known, List(Shape::Package)),
    change(
        "POST",
        "/packages",
        Write,
        Needs(Write, All("package")),
        Open,
    ),
    get("/packages/{name}", Known, List(Shape::Package)),
    get("/instances", Known, List(Shape::Instance)),
    change(
        "DELETE",
        "/instances/{site}/{name}",
        Operate,
        Needs(Operate, Instance),
        Open,
    ),
    get(
        "/instances/{site}/{name}/logs",
        NeedsWhole(Read, Instance, &["instance"]),
        Open,
    ),
    change(
        "POST",
        "/instances/{site}/{name}/{operation}",
        Operate,
        Needs(Operate, Instance),
        Open,
    ),
    // Kinds say what there may be, not what there is.
    get("/kinds", Known, Open),
    get("/kinds/{kind}", Known, Open),
    get("/kinds/{kind}/schema", Known, Open),
    // Who writes is decided on what a resource is and on what it would be: by the handlers.
    change(
        "POST",
        "/transactions",
        Write,
        Known,
        Within("outcomes", Shape::Outcome),
    ),
    get("/resources/{kind}", Known, List(Shape::Resource)),
    change(
        "POST",
        "/resources/{kind}",
        Write,
        Known,
        Item(Shape::Resource),
    ),
    change(
        "PUT",
        "/resources/{kind}/{name}",
        Write,
        Known,
        Item(Shape::Resource),
    ),
    change(
        "PATCH",
        "/resources/{kind}/{name}",
        Write,
        Known,
        Item(Shape::Resource),
    ),
    change(
        "DELETE",
        "/resources/{kind}/{name}",
        Write,
        Known,
        Within("outcomes", Shape::Outcome),
    ),
    change(
        "POST",
        "/resources/{kind}/{name}/restore",
        Write,
        Needs(Read, Resource),
        Item(Shape::Resource),
    ),
    // Which of its fields, and whether he may write them or act on the host, the handler decides.
    change(
        "POST",
        "/resources/{kind}/{name}/drift",
        Write,
        Needs(Read, Resource),
        Open,
    ),
    get("/drift", Known, Open),
    change(
        "GET",
        "/resources/{kind}/{name}/secrets/{field}",
        SeeSecrets,
        Needs(SeeSecrets, Resource),
        Open,
    ),
    get(
        "/resources/{kind}/{name}",
        Needs(Read, Resource),
        Item(Shape::Resource),
    ),
    get(
        "/resources/{kind}/{name}/history",
        Needs(Read, Resource),
        List(Shape::Past),
    ),
    // The handlers answer of what the caller may read all of, and refuse the rest.
    Endpoint {
        method: "POST",
        path: "/query",
        gate: Known,
        answer: Open,
        audited: None,
    },
    get("/search", Known, Open),
    get("/events", Known, List(Shape::Event)),
    get("/events/watch", Known, Stream(Shape::Event)),
    get("/watch", Known, Stream(Shape::Change)),
    // Which kinds they are about, and so whether the caller may, the handlers find out.
    change("POST", "/import", Write, Known, Open),
    get("/export/{kind}", Known, Open),
    get(
        "/discovery/ansible",
        NeedsWhole(Read, Any("host"), &["host", "instance"]),
        Open,
    ),
    get(
        "/discovery/prometheus",
        NeedsWhole(Read, Any("instance"), &["instance"]),
        Open,
    ),
    get("/webhooks", Needs(Read, All("webhook")), Open),
    // A dead letter may be about anything.
    get(
        "/webhooks/{name}/dead",
        Needs(Administer, One("webhook", "name")),
        Open,
    ),
    change(
        "POST",
        "/webhooks/{name}/replay",
        Administer,
        Needs(Administer, One("webhook", "name")),
        Open,
    ),
    get("/health", Known, Open),
];
