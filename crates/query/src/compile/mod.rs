//! From CEL's syntax tree to our own expression.

mod comparison;
mod lists;
mod names;

use cel::{
    common::ast::{CallExpr, Expr as Node, IdedExpr, LiteralValue, SourceInfo, operators},
    parser::Parser,
};
use regex::RegexBuilder;

use crate::{
    FilterError,
    eval::calculate,
    expr::{Affix, Arithmetic, Comparison, Expr, Leaf, Literal, Network, Path, Quantifier},
    inherit, line,
    resolve::{Key, Wanted, error},
    schema::{self, Sort},
    sight::View,
    value::Value,
};

/// The longest filter, bytes.
const MAX_TEXT: usize = 16 << 10;
/// The most memory of a pattern, bytes.
const MAX_PATTERN: usize = 1 << 20;

/// What a filter can call.
const FUNCTIONS: &str = "size, startsWith, endsWith, contains, matches, exists, all, exists_one, \
                         has, timestamp, duration, cidr(…).containsIP";

pub(crate) fn compile(text: &str, kind: &str, view: View<'_>) -> Result<Expr, FilterError> {
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
        view,
        kind,
        source,
        elements: Vec::new(),
    };
    let expr = compiler.expr(&root)?;
    compiler.is_condition(&expr, root.id)?;
    Ok(expr)
}

/// A field by its path alone, as it is sorted by, selected or grouped by: `rack.room.name`, `labels.team`.
pub(crate) fn path(path: &str, kind: &str, view: View<'_>) -> Result<Expr, FilterError> {
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
    inherit::expression(view, kind, &keys, Wanted::Value)
}

/// What the elements of a list are, by the name they have in a quantifier.
struct Element {
    name: String,
    /// The kind of the resources that they are or name.
    kind: Option<String>,
}

struct Compiler<'a> {
    view: View<'a>,
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
            Expr::Path(_)
            | Expr::Line(_)
            | Expr::Size(_)
            | Expr::Arithmetic(..)
            | Expr::Negate(_) => false,
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
            Some(network) => inherit::of_each(self.expr(address)?, &mut |address| {
                Ok(Expr::Within(network, Box::new(address)))
            }),
            None => {
                let message = "containsIP is asked of a constant network".to_owned();
                let help = "write cidr(\"10.0.0.0/8\").containsIP(host.address)";
                Err(error(self.first_column(network), message, help))
            }
        }
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
        let (text, part) = (self.expr(a)?, self.expr(b)?);
        if let (Affix::Start, Expr::Line(line), Expr::Literal(Literal::Text(part))) =
            (affix, &text, &part)
        {
            return Ok(line::begins(line, part));
        }
        inherit::of_each(text, &mut |text| {
            Ok(Expr::Affix(affix, Box::new([text, part.clone()])))
        })
    }

    fn matches(&mut self, text: &IdedExpr, pattern: &IdedExpr) -> Compiled {
        let column = self.column(pattern.id);
        let Expr::Literal(Literal::Text(pattern)) = self.expr(pattern)? else {
            let message = "matches() takes a constant pattern".to_owned();
            return Err(error(column, message, ""));
        };
        let built = RegexBuilder::new(&pattern).size_limit(MAX_PATTERN).build();
        match built {
            Ok(built) => inherit::of_each(self.expr(text)?, &mut |text| {
                Ok(Expr::Matches(built.clone(), Box::new(text)))
            }),
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
}
