//! From CEL's syntax tree to our own expression.

use cel::{
    common::ast::{
        CallExpr, ComprehensionExpr, Expr as Node, IdedExpr, LiteralValue, SourceInfo, operators,
    },
    parser::Parser,
};
use regex::RegexBuilder;

use crate::{
    FilterError, Index,
    eval::calculate,
    expr::{Affix, Arithmetic, Comparison, Expr, Leaf, Literal, Network, Path, Quantifier, Within},
    resolve::{self, Key, Wanted, error},
    schema::{self, Sort},
    value::Value,
};

/// The longest filter, bytes.
const MAX_TEXT: usize = 16 << 10;
/// The most memory of a pattern, bytes.
const MAX_PATTERN: usize = 1 << 20;

/// What a filter can call.
const FUNCTIONS: &str = "size, startsWith, endsWith, contains, matches, exists, all, exists_one, \
                         has, timestamp, duration, cidr(…).containsIP";

pub(crate) fn compile(text: &str, kind: &str, index: &Index) -> Result<Expr, FilterError> {
    if text.len() > MAX_TEXT {
        let message = format!(
            "a filter has at most {MAX_TEXT} bytes, this one {}",
            text.len()
        );
        return Err(error(1, message, ""));
    }
    let parser = Parser::default().enable_ident_escape_syntax(true);
    let (root, source) = parser.parse_with_source_info(text).map_err(|errors| {
        let first = errors.errors.first();
        let column = first.map_or(1, |first| u32::try_from(first.pos.1).unwrap_or(1));
        let message = first.map_or("no CEL expression", |first| first.msg.as_str());
        error(column.max(1), message.to_owned(), "")
    })?;
    let mut compiler = Compiler {
        index,
        kind,
        source,
        elements: Vec::new(),
    };
    let expr = compiler.expr(&root)?;
    compiler.is_condition(&expr, root.id)?;
    Ok(expr)
}

/// A field by its path alone, as it is sorted by, selected or grouped by: `rack.room.name`, `labels.team`.
pub(crate) fn path(path: &str, kind: &str, index: &Index) -> Result<Expr, FilterError> {
    let mut column = 1;
    let keys: Vec<Key> = path
        .split('.')
        .map(|name| {
            let key = Key {
                name: name.to_owned(),
                column,
            };
            column += u32::try_from(name.chars().count() + 1).unwrap_or(0);
            key
        })
        .collect();
    resolve::path(index, kind, &keys, Wanted::Value).map(Expr::Path)
}

/// What the elements of a list are, by the name they have in a quantifier.
struct Element {
    name: String,
    /// The kind of the resources that they are or name.
    kind: Option<String>,
}

struct Compiler<'a> {
    index: &'a Index,
    kind: &'a str,
    source: SourceInfo,
    elements: Vec<Element>,
}

type Compiled = Result<Expr, FilterError>;

impl Compiler<'_> {
    fn column(&self, id: u64) -> u32 {
        self.source.offset_for(id).map_or(1, |(start, _)| start + 1)
    }

    fn expr(&mut self, node: &IdedExpr) -> Compiled {
        match &node.expr {
            Node::Literal(literal) => self.literal(literal, node.id),
            Node::Ident(_) | Node::Select(_) => self.path(node),
            Node::Call(call) => self.call(call, node),
            Node::Comprehension(comprehension) => self.each(comprehension, node.id, None),
            Node::List(list) => {
                let mut elements = Vec::new();
                for element in &list.elements {
                    match self.expr(element)? {
                        Expr::Literal(literal) => elements.push(literal),
                        _ => {
                            let message = "a list may hold constants only".to_owned();
                            return Err(error(self.column(element.id), message, "use ||"));
                        }
                    }
                }
                Ok(Expr::Literal(Literal::List(elements)))
            }
            Node::Map(_) | Node::Struct(_) | Node::Unspecified => {
                let message = "a filter cannot make maps".to_owned();
                Err(error(self.column(node.id), message, ""))
            }
        }
    }

    fn literal(&self, literal: &LiteralValue, id: u64) -> Compiled {
        Ok(Expr::Literal(match literal {
            LiteralValue::Boolean(value) => Literal::Bool(**value),
            LiteralValue::Double(value) => Literal::Float(**value),
            LiteralValue::Int(value) => Literal::Int(**value),
            LiteralValue::UInt(value) => match i64::try_from(**value) {
                Ok(value) => Literal::Int(value),
                Err(_) => {
                    return Err(error(
                        self.column(id),
                        "the number is too large".to_owned(),
                        "",
                    ));
                }
            },
            LiteralValue::Null => Literal::Null,
            LiteralValue::String(text) => Literal::Text(text.inner().to_owned()),
            LiteralValue::Bytes(_) => {
                let message = "a filter has no byte strings".to_owned();
                return Err(error(self.column(id), message, "write a text"));
            }
        }))
    }

    /// The name that a chain of dots and `["…"]` begins with, and what follows it.
    fn chain(&self, node: &IdedExpr) -> Option<(String, Vec<Key>)> {
        let key = |name: &str| Key {
            name: name.to_owned(),
            column: self.column(node.id),
        };
        match &node.expr {
            Node::Ident(name) => Some((name.clone(), Vec::new())),
            Node::Select(select) => {
                let (root, mut keys) = self.chain(&select.operand)?;
                keys.push(key(&select.field));
                Some((root, keys))
            }
            Node::Call(CallExpr {
                func_name,
                target,
                args,
            }) if func_name == operators::INDEX => {
                let (of, at) = match (target, args.as_slice()) {
                    (Some(of), [at]) => (&**of, at),
                    (None, [of, at]) => (of, at),
                    _ => return None,
                };
                let Node::Literal(LiteralValue::String(name)) = &at.expr else {
                    return None;
                };
                let (root, mut keys) = self.chain(of)?;
                keys.push(key(name.inner()));
                Some((root, keys))
            }
            _ => None,
        }
    }

    fn is_document(&self, name: &str) -> bool {
        name == "self" || name == self.kind.replace('-', "_")
    }

    fn path(&mut self, node: &IdedExpr) -> Compiled {
        let test = matches!(&node.expr, Node::Select(select) if select.test);
        let Some((root, mut keys)) = self.chain(node) else {
            return self.select_of_expression(node, test);
        };
        self.place(node, &mut keys);
        let found = self
            .elements
            .iter()
            .rev()
            .position(|element| element.name == root);
        if let Some(up) = found {
            return self.element(up, &keys, test);
        }
        if !self.is_document(&root) {
            let ident = self.kind.replace('-', "_");
            let message = format!("{root} is not known");
            let help = if keys.is_empty() {
                format!("a field is written {ident}.{root}")
            } else {
                format!("the resource is called {ident} or self")
            };
            return Err(error(
                self.column(node.id).min(self.first_column(node)),
                message,
                help,
            ));
        }
        let wanted = if test {
            Wanted::Presence
        } else {
            Wanted::Value
        };
        let path = resolve::path(self.index, self.kind, &keys, wanted)?;
        Ok(if test {
            Expr::Has(path)
        } else {
            Expr::Path(path)
        })
    }

    /// Where the leftmost name of a chain stands.
    fn first_column(&self, node: &IdedExpr) -> u32 {
        match &node.expr {
            Node::Select(select) => self.first_column(&select.operand),
            Node::Call(call) => match (&call.target, call.args.first()) {
                (Some(first), _) => self.first_column(first),
                (None, Some(first)) => self.first_column(first),
                _ => self.column(node.id),
            },
            _ => self.column(node.id),
        }
    }

    /// The places of keys, where they are written one after the other.
    fn place(&self, node: &IdedExpr, keys: &mut [Key]) {
        let text: Vec<char> = self.source.source.chars().collect();
        let mut at = (self.first_column(node) as usize).saturating_sub(1);
        for key in keys {
            let name: Vec<char> = key.name.chars().collect();
            let ends = |at: usize| {
                let after = text.get(at + name.len());
                after.is_none_or(|c| !c.is_alphanumeric() && *c != '_')
            };
            let found = (at + 1..text.len()).find(|at| text[*at..].starts_with(&name) && ends(*at));
            if let Some(found) = found {
                key.column = u32::try_from(found + 1).unwrap_or(key.column);
                at = found;
            }
        }
    }

    fn select_of_expression(&mut self, node: &IdedExpr, test: bool) -> Compiled {
        match &node.expr {
            Node::Select(select) if !test => {
                let of = self.expr(&select.operand)?;
                let key = Expr::Literal(Literal::Text(select.field.clone()));
                Ok(Expr::At(Box::new([of, key])))
            }
            _ => {
                let message = "has() takes a field of the resource".to_owned();
                Err(error(self.column(node.id), message, ""))
            }
        }
    }

    fn element(&self, up: usize, keys: &[Key], test: bool) -> Compiled {
        let element = &self.elements[self.elements.len() - 1 - up];
        let names = || keys.iter().map(|key| key.name.clone()).collect();
        let within = match (&element.kind, keys) {
            (_, []) => Within::Itself,
            (Some(kind), keys) => {
                let path = resolve::path(self.index, kind, keys, Wanted::Value)?;
                if test {
                    let message = "has() of a field of another resource is not possible in a list";
                    let column = keys.first().map_or(1, |key| key.column);
                    return Err(error(column, message.to_owned(), "compare the field"));
                }
                Within::Resource {
                    kind: kind.clone(),
                    path,
                }
            }
            (None, _) if test => return Ok(Expr::HasElement { up, keys: names() }),
            (None, _) => Within::Keys(names()),
        };
        Ok(Expr::Element { up, within })
    }

    fn call(&mut self, call: &CallExpr, node: &IdedExpr) -> Compiled {
        let operands: Vec<&IdedExpr> = call
            .target
            .iter()
            .map(|target| &**target)
            .chain(&call.args)
            .collect();
        match (call.func_name.as_str(), operands.as_slice()) {
            (operators::LOGICAL_AND, _) => self.logic(&operands, true),
            (operators::LOGICAL_OR, _) => self.logic(&operands, false),
            (operators::LOGICAL_NOT, [one]) => {
                let expr = self.condition(one)?;
                Ok(Expr::Not(Box::new(expr)))
            }
            (operators::CONDITIONAL, [condition, yes, no]) => {
                let three = [self.condition(condition)?, self.expr(yes)?, self.expr(no)?];
                Ok(Expr::Choice(Box::new(three)))
            }
            (operators::INDEX, [of, at]) => match self.chain(node) {
                Some(_) => self.path(node),
                None => Ok(Expr::At(Box::new([self.expr(of)?, self.expr(at)?]))),
            },
            (operators::IN, [value, holder]) => self.contained(value, holder),
            (operators::NEGATE, [one]) => Ok(match self.expr(one)? {
                Expr::Literal(Literal::Int(n)) if n != i64::MIN => Expr::Literal(Literal::Int(-n)),
                Expr::Literal(Literal::Float(n)) => Expr::Literal(Literal::Float(-n)),
                expr => Expr::Negate(Box::new(expr)),
            }),
            ("size", [one]) => self.size(one),
            ("timestamp" | "duration", [one]) => self.time(&call.func_name, one),
            ("containsIP", [network, address]) => self.network(network, address),
            (name, [a, b]) => self.binary(name, a, b, node),
            (name, _) => Err(self.unknown(name, node)),
        }
    }

    fn unknown(&self, name: &str, node: &IdedExpr) -> FilterError {
        let message = format!("a filter has no function {name} with these arguments");
        error(
            self.first_column(node),
            message,
            format!("there are {FUNCTIONS}"),
        )
    }

    fn logic(&mut self, operands: &[&IdedExpr], and: bool) -> Compiled {
        let mut many = Vec::new();
        for operand in operands {
            // What is inside of the same operator is on one level with it.
            match (self.condition(operand)?, and) {
                (Expr::And(inner), true) | (Expr::Or(inner), false) => many.extend(inner),
                (expr, _) => many.push(expr),
            }
        }
        Ok(if and { Expr::And(many) } else { Expr::Or(many) })
    }

    fn condition(&mut self, node: &IdedExpr) -> Compiled {
        let expr = self.expr(node)?;
        self.is_condition(&expr, node.id)?;
        Ok(expr)
    }

    fn is_condition(&self, expr: &Expr, id: u64) -> Result<(), FilterError> {
        let is = match expr {
            Expr::Literal(literal) => matches!(literal, Literal::Bool(_)),
            Expr::Path(Path {
                leaf: Leaf::Field(field),
                ..
            }) => {
                matches!(field.sort, Sort::Boolean | Sort::Any | Sort::Json)
            }
            Expr::Path(_) | Expr::Size(_) | Expr::Arithmetic(..) | Expr::Negate(_) => false,
            Expr::Each(quantifier, _) => *quantifier != Quantifier::Count,
            _ => true,
        };
        if is {
            return Ok(());
        }
        let message = format!("{expr} is no condition: true or false was expected");
        Err(error(self.column(id), message, "compare it with something"))
    }

    fn size(&mut self, node: &IdedExpr) -> Compiled {
        if let Node::Comprehension(comprehension) = &node.expr
            && matches!(comprehension.accu_init.expr, Node::List(_))
        {
            return self.each(comprehension, node.id, Some(Quantifier::Count));
        }
        Ok(Expr::Size(Box::new(self.expr(node)?)))
    }

    fn time(&mut self, name: &str, node: &IdedExpr) -> Compiled {
        let (sort, parse): (_, fn(&str) -> Option<Literal>) = match name {
            "timestamp" => (Sort::Time, |text| schema::time(text).map(Literal::Time)),
            _ => (Sort::Span, |text| schema::span(text).map(Literal::Span)),
        };
        match self.expr(node)? {
            Expr::Literal(Literal::Text(text)) => match parse(&text) {
                Some(literal) => Ok(Expr::Literal(literal)),
                None => {
                    let message =
                        format!("{text:?} is no {name}: {} was expected", sort.expected());
                    Err(error(self.column(node.id), message, ""))
                }
            },
            Expr::Path(path) if matches!(&path.leaf, Leaf::Field(field) if field.sort == sort) => {
                Ok(Expr::Path(path))
            }
            expr => {
                let message = format!("{name}() takes a constant text, not {expr}");
                let help = format!("declare the field as one; {} was expected", sort.expected());
                Err(error(self.column(node.id), message, help))
            }
        }
    }

    fn network(&mut self, network: &IdedExpr, address: &IdedExpr) -> Compiled {
        let text = match &network.expr {
            Node::Call(call) if call.func_name == "cidr" => match call.args.as_slice() {
                [
                    IdedExpr {
                        expr: Node::Literal(LiteralValue::String(text)),
                        ..
                    },
                ] => text.inner(),
                _ => "",
            },
            _ => "",
        };
        let parsed = text.split_once('/').and_then(|(address, bits)| {
            Some(Network {
                address: address.parse().ok()?,
                bits: bits.parse().ok()?,
            })
        });
        let widest = |network: &Network| if network.address.is_ipv4() { 32 } else { 128 };
        match parsed.filter(|network| network.bits <= widest(network)) {
            Some(network) => Ok(Expr::Within(network, Box::new(self.expr(address)?))),
            None => {
                let message = "containsIP is asked of a constant network".to_owned();
                let help = "write cidr(\"10.0.0.0/8\").containsIP(host.address)";
                Err(error(self.first_column(network), message, help))
            }
        }
    }

    fn contained(&mut self, value: &IdedExpr, holder: &IdedExpr) -> Compiled {
        // A label is asked for by its key.
        if let Some((root, keys)) = self.chain(holder)
            && self.is_document(&root)
            && matches!(keys.as_slice(), [key] if key.name == "labels")
            && let Node::Literal(LiteralValue::String(key)) = &value.expr
        {
            let leaf = Leaf::Label(key.inner().to_owned());
            return Ok(Expr::Has(Path {
                hops: Vec::new(),
                leaf,
            }));
        }
        let (mut two, at) = ([self.expr(value)?, self.expr(holder)?], holder.id);
        if let (Expr::Path(path), Expr::Literal(Literal::List(elements))) = {
            let [value, holder] = &mut two;
            (value, holder)
        } {
            for element in elements {
                self.fit(path, element, at)?;
            }
        }
        Ok(Expr::In(Box::new(two)))
    }

    fn binary(&mut self, name: &str, a: &IdedExpr, b: &IdedExpr, node: &IdedExpr) -> Compiled {
        let comparison = match name {
            operators::EQUALS => Some(Comparison::Equal),
            operators::NOT_EQUALS => Some(Comparison::NotEqual),
            operators::LESS => Some(Comparison::Less),
            operators::LESS_EQUALS => Some(Comparison::AtMost),
            operators::GREATER => Some(Comparison::Greater),
            operators::GREATER_EQUALS => Some(Comparison::AtLeast),
            _ => None,
        };
        if let Some(comparison) = comparison {
            return self.compare(comparison, a, b);
        }
        let arithmetic = match name {
            operators::ADD => Some(Arithmetic::Add),
            operators::SUBSTRACT => Some(Arithmetic::Subtract),
            operators::MULTIPLY => Some(Arithmetic::Multiply),
            operators::DIVIDE => Some(Arithmetic::Divide),
            operators::MODULO => Some(Arithmetic::Remainder),
            _ => None,
        };
        if let Some(operation) = arithmetic {
            let two = [self.expr(a)?, self.expr(b)?];
            return self.calculated(operation, two, node.id);
        }
        let affix = match name {
            "startsWith" => Affix::Start,
            "endsWith" => Affix::End,
            "contains" => Affix::Inside,
            "matches" => return self.matches(a, b),
            _ => return Err(self.unknown(name, node)),
        };
        Ok(Expr::Affix(affix, Box::new([self.expr(a)?, self.expr(b)?])))
    }

    fn matches(&mut self, text: &IdedExpr, pattern: &IdedExpr) -> Compiled {
        let column = self.column(pattern.id);
        let Expr::Literal(Literal::Text(pattern)) = self.expr(pattern)? else {
            let message = "matches() takes a constant pattern".to_owned();
            return Err(error(column, message, ""));
        };
        let built = RegexBuilder::new(&pattern).size_limit(MAX_PATTERN).build();
        match built {
            Ok(built) => Ok(Expr::Matches(built, Box::new(self.expr(text)?))),
            Err(cause) => Err(error(column, format!("the pattern is wrong: {cause}"), "")),
        }
    }

    fn calculated(&self, operation: Arithmetic, two: [Expr; 2], id: u64) -> Compiled {
        let (Expr::Literal(a), Expr::Literal(b)) = (&two[0], &two[1]) else {
            return Ok(Expr::Arithmetic(operation, Box::new(two)));
        };
        if let (Arithmetic::Add, Literal::Text(a), Literal::Text(b)) = (operation, a, b) {
            return Ok(Expr::Literal(Literal::Text(format!("{a}{b}"))));
        }
        Ok(Expr::Literal(
            match calculate(operation, a.value(), b.value()) {
                Some(Value::Int(value)) => Literal::Int(value),
                Some(Value::Float(value)) => Literal::Float(value),
                Some(Value::Time(value)) => Literal::Time(value),
                Some(Value::Span(value)) => Literal::Span(value),
                _ => {
                    let message = format!("{a} and {b} cannot be calculated with");
                    return Err(error(self.column(id), message, ""));
                }
            },
        ))
    }

    fn compare(&mut self, comparison: Comparison, a: &IdedExpr, b: &IdedExpr) -> Compiled {
        use Comparison::{AtLeast, AtMost, Greater, Less};
        let (mut two, mut comparison) = ([self.expr(a)?, self.expr(b)?], comparison);
        let mut at = b.id;
        if matches!(two, [Expr::Literal(_), _]) && !matches!(two, [_, Expr::Literal(_)]) {
            two.reverse();
            at = a.id;
            comparison = match comparison {
                Less => Greater,
                AtMost => AtLeast,
                Greater => Less,
                AtLeast => AtMost,
                same => same,
            };
        }
        if let [Expr::Path(path), Expr::Literal(literal)] = &mut two {
            self.fit(path, literal, at)?;
        }
        Ok(Expr::Compare(comparison, Box::new(two)))
    }

    /// Makes a constant what the field that it is compared with holds, or refuses it.
    fn fit(&self, path: &Path, literal: &mut Literal, id: u64) -> Result<(), FilterError> {
        let sort = match &path.leaf {
            Leaf::Field(field) => &field.sort,
            Leaf::Name | Leaf::Label(_) | Leaf::Kind(_) => &Sort::Text,
            Leaf::Labels | Leaf::Referrers { .. } => return Ok(()),
        };
        if let Literal::Text(text) = literal {
            let read = match sort {
                Sort::Time => schema::time(text).map(Literal::Time),
                Sort::Span => schema::span(text).map(Literal::Span),
                Sort::Bytes => schema::bytes(text).map(Literal::Int),
                _ => None,
            };
            if let Some(read) = read {
                *literal = read;
            }
        }
        let fits = match (sort, &*literal) {
            (_, Literal::Null) | (Sort::Any | Sort::Json, _) => true,
            (Sort::Text, Literal::Text(_)) | (Sort::Boolean, Literal::Bool(_)) => true,
            (Sort::Integer | Sort::Float | Sort::Bytes, literal) => {
                matches!(literal, Literal::Int(_) | Literal::Float(_))
            }
            (Sort::Time, Literal::Time(_)) | (Sort::Span, Literal::Span(_)) => true,
            (Sort::List, Literal::List(_)) => true,
            (Sort::Reference { .. }, Literal::Text(_) | Literal::List(_)) => true,
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let message = format!("{path} holds {}, not {literal}", sort.expected());
        Err(error(self.column(id), message, ""))
    }

    /// A macro over a list, as CEL's parser expanded it.
    fn each(
        &mut self,
        comprehension: &ComprehensionExpr,
        id: u64,
        as_count: Option<Quantifier>,
    ) -> Compiled {
        let column = self.column(id);
        let step = match &comprehension.loop_step.expr {
            Node::Call(call) => Some((call.func_name.as_str(), call.args.as_slice())),
            _ => None,
        };
        let found = match (step, as_count) {
            (Some((operators::LOGICAL_OR, [_, body])), None) => Some((Quantifier::Any, body)),
            (Some((operators::LOGICAL_AND, [_, body])), None) => Some((Quantifier::All, body)),
            (Some((operators::CONDITIONAL, [body, yes, _])), as_count) => {
                // `filter` adds the element itself; `map` with a condition something else.
                let is_one = matches!(comprehension.accu_init.expr, Node::Literal(_));
                match as_count {
                    None if is_one => Some((Quantifier::One, body)),
                    Some(count) if adds(yes, &comprehension.iter_var) => Some((count, body)),
                    _ => None,
                }
            }
            _ => None,
        };
        let Some((quantifier, body)) = found else {
            let message = "map and filter make lists, which are no condition".to_owned();
            return Err(error(
                column,
                message,
                "write exists(…), or size(….filter(…))",
            ));
        };
        let list = self.expr(&comprehension.iter_range)?;
        let kind = match &list {
            Expr::Path(Path {
                leaf: Leaf::Referrers { kind, .. },
                ..
            }) => Some(kind.clone()),
            Expr::Path(Path {
                leaf: Leaf::Field(field),
                ..
            }) => match &field.sort {
                Sort::Reference { kind, .. } => Some(kind.clone()),
                _ => None,
            },
            _ => None,
        };
        let name = comprehension.iter_var.clone();
        self.elements.push(Element { name, kind });
        let body = self.condition(body);
        self.elements.pop();
        Ok(Expr::Each(quantifier, Box::new([list, body?])))
    }
}

/// Whether a step of `filter` adds the element of this name.
fn adds(step: &IdedExpr, name: &str) -> bool {
    let Node::Call(call) = &step.expr else {
        return false;
    };
    let Some(Node::List(list)) = call.args.last().map(|added| &added.expr) else {
        return false;
    };
    matches!(list.elements.as_slice(), [IdedExpr { expr: Node::Ident(added), .. }] if added == name)
}
