//! The API's description of itself, held against what the process answers.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::harness::{Engine, Flavour, Server, Sqluice, Start, cluster, user};

/// Status and body of a request at the UNIX socket.
fn ask(sqluice: &Sqluice, method: &str, path: &str) -> (String, String) {
    let mut stream = UnixStream::connect(sqluice.admin_socket()).expect("the admin socket listens");
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: sqluice\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head ends");
    (head.split(' ').nth(1).expect("a status").to_owned(), body.to_owned())
}

/// The required parameters of an operation, with values that mean something to [`Start`]'s configuration below.
fn query(operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let pairs = parameters.filter(|parameter| parameter["required"] == true).map(|parameter| {
        let name = parameter["name"].as_str().expect("a parameter has a name");
        let value = match name {
            "user" => "app",
            "mode" => "off",
            _ => "s1",
        };
        format!("{name}={value}")
    });
    let pairs: Vec<String> = pairs.collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

/// The schema that a reference means.
fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            let place = document.pointer(reference.trim_start_matches('#'));
            place.unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
        None => schema,
    }
}

/// What of a value is not as a schema says; a key that the schema does not know is wrong, too.
fn complaints(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let schema = resolved(document, schema);
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = |choice: &&Value| complaints(document, choice, value, at).is_empty();
        return if choices.iter().any(|choice| fits(&choice)) {
            vec![]
        } else {
            vec![format!("{at}: {value} is none of {choices:?}")]
        };
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        other => return vec![format!("{at}: its schema has the type {other}")],
    };
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) if types.contains(&"number") => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !types.contains(&found) {
        return vec![format!("{at}: {found} where {types:?} is described")];
    }
    if let (Some(words), Value::String(_)) = (schema["enum"].as_array(), value)
        && !words.contains(value)
    {
        return vec![format!("{at}: {value} is none of {words:?}")];
    }
    match value {
        Value::Array(items) => {
            items.iter().flat_map(|item| complaints(document, &schema["items"], item, &format!("{at}[]"))).collect()
        }
        Value::Object(fields) => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let missing = required.filter(|name| !fields.contains_key(*name)).map(|name| format!("{at}: no {name}"));
            let inner = fields.iter().flat_map(|(name, field)| {
                let described = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
                match described {
                    Some(inner) => complaints(document, inner, field, &format!("{at}.{name}")),
                    None => vec![format!("{at}: {name} is not described")],
                }
            });
            missing.chain(inner).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![],
    }
}

#[test]
fn every_route_answers_as_the_api_describes_itself() {
    let server = Server::shared(Flavour::MariaDb10);
    let body = cluster(server) + &user("app", "app");
    let sqluice = Start::new(Engine::IoUring, body).admin("http = \"127.0.0.1:0\"").run_with_servers_up(1);
    let mut client = sqluice.app();
    client.execute("SELECT 1");
    let (_, document) = ask(&sqluice, "GET", "/v1/openapi.json");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let paths = document["paths"].as_object().expect("paths").iter();
    let operations = paths
        .flat_map(|(path, of)| of.as_object().expect("methods").iter().map(move |(method, of)| (path, method, of)));
    let mut operations: Vec<(&String, &String, &Value)> = operations.collect();
    assert!(operations.len() >= 8, "{operations:?}");
    // Questions first: orders may change what there is to be asked about.
    operations.sort_by_key(|(path, method, _)| (method.as_str() != "get", *path));
    for (path, method, operation) in operations {
        let (status, body) = ask(&sqluice, &method.to_uppercase(), &(path.clone() + &query(operation)));
        let described = &operation["responses"][&status]["content"];
        assert!(described.is_object(), "{method} {path}: {status} is not described: {body}");
        if let Some(schema) = described.get("application/json").map(|content| &content["schema"]) {
            let body: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(
                complaints(&document, schema, &body, path),
                Vec::<String>::new(),
                "{method} {path} answered {body:#}"
            );
        }
    }
    // What is asked in a wrong way is told so in the shape for problems.
    for (method, path, expected) in [
        ("POST", "/v1/status", "405"),
        ("GET", "/v1/explain", "400"),
        ("GET", "/v1/sessions?limit=x", "400"),
        ("GET", "/v2", "404"),
    ] {
        let (status, body) = ask(&sqluice, method, path);
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            (status.as_str(), complaints(&document, &document["components"]["schemas"]["Problem"], &body, path)),
            (expected, vec![])
        );
    }
}

#[test]
fn what_is_not_as_described_is_complained_of() {
    let document = serde_json::json!({ "components": { "schemas": { "Row": {
        "type": "object", "required": ["a"], "properties": { "a": { "type": "integer" }, "b": { "type": ["string", "null"], "enum": ["x", null] } },
    } } } });
    let schema = serde_json::json!({ "type": "array", "items": { "$ref": "#/components/schemas/Row" } });
    let of = |value: Value| complaints(&document, &schema, &value, "").len();
    assert_eq!(of(serde_json::json!([{ "a": 1 }, { "a": 2, "b": null }, { "a": 3, "b": "x" }])), 0);
    assert_eq!(of(serde_json::json!([{ "a": 1.5 }, { "b": null }, { "a": 3, "b": "y" }, { "a": 4, "c": 5 }, 6])), 5);
}
