//! The playbook: which of the tasks in `bench/ansible` are done in which order. Only those that have
//! something to do on some host.

use std::path::Path;

use serde_json::{Value, json};

/// How Ansible goes through the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Its default: each task on all hosts before the next one.
    Linear,
    /// Each host goes on as fast as it can, and waits for what it needs of the others.
    Free,
}

impl Strategy {
    /// As Ansible calls it.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Linear => "linear",
            Strategy::Free => "free",
        }
    }
}

/// The playbook for an inventory, with the task files in a directory.
pub fn playbook(strategy: Strategy, tasks: &Path, inventory: &Value, layers: usize) -> Value {
    let file = |name: &str| tasks.join(format!("{name}.yaml"));
    let mut list = vec![json!({ "import_tasks": file("prepare") })];
    let checks = |path: String, what: String, list: &mut Vec<Value>| {
        for kind in ["http", "tcp", "command"] {
            let pointer = format!("/{}/{kind}", path.replace(['[', '.'], "/").replace(']', ""));
            if somebody_has(inventory, &pointer) {
                let checks = format!("{{{{ {path}.{kind} }}}}");
                list.push(json!({ "import_tasks": file(kind), "vars": { "what": what, "checks": checks } }));
            }
        }
    };
    for layer in 0..layers {
        if strategy == Strategy::Free {
            checks(
                format!("layers[{layer}].waits"),
                format!("what layer {layer} needs"),
                &mut list,
            );
        }
        let start = json!({ "import_tasks": file("start"), "vars": { "layer": layer } });
        list.push(start);
        checks(
            format!("layers[{layer}].ready"),
            format!("layer {layer} is ready"),
            &mut list,
        );
    }
    checks(
        "verify".to_owned(),
        "the site does what it should".to_owned(),
        &mut list,
    );
    json!([{ "hosts": "all", "gather_facts": false, "strategy": strategy.name(), "tasks": list }])
}

fn somebody_has(inventory: &Value, pointer: &str) -> bool {
    let hosts = inventory["all"]["hosts"].as_object();
    let lists = hosts
        .into_iter()
        .flat_map(|hosts| hosts.values())
        .filter_map(|host| host.pointer(pointer)?.as_array());
    lists.into_iter().any(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_some_host_has_to_do_is_a_task_and_only_the_free_wait() {
        let some = json!({ "http": [1], "tcp": [], "command": [] });
        let none = json!({ "http": [], "tcp": [], "command": [] });
        let host = json!({ "layers": [{ "waits": some, "ready": none }], "verify": some });
        let inventory = json!({ "all": { "hosts": { "h1": host } } });
        let files = |strategy| {
            let book = playbook(strategy, Path::new("t"), &inventory, 1);
            let tasks = book[0]["tasks"].as_array().unwrap().clone();
            tasks
                .iter()
                .map(|task| task["import_tasks"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            files(Strategy::Linear),
            ["t/prepare.yaml", "t/start.yaml", "t/http.yaml"]
        );
        assert_eq!(
            files(Strategy::Free),
            [
                "t/prepare.yaml",
                "t/http.yaml",
                "t/start.yaml",
                "t/http.yaml"
            ]
        );
    }
}
