//! `pgwire`'s callbacks: from its messages to sessions and plans, and back.

use super::execute::Answer;
use super::parser::parse;
use super::plan::{Plan, plan};
use super::session::{Outcome, Session, Shared};
use super::sql::{ColumnType, SUPPORTED, SqlError, Value};
use async_trait::async_trait;
use futures_util::{Sink, SinkExt, stream};
use pgwire::api::auth::noop::NoopStartupHandler;
use pgwire::api::cancel::DefaultCancelHandler;
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{DataRowEncoder, FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{
    ClientInfo, ClientPortalStore, ConnectionManager, DEFAULT_NAME, ErrorHandler,
    PgWireServerHandlers, Type,
};
use pgwire::error::{ErrorInfo, PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::{Execute, Sync as SyncMessage};
use pgwire::messages::response::ReadyForQuery;
use std::fmt::Debug;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Rows of a portal that a client may ask for at a time; more is the same as all, since no result is larger.
const MAX_FETCH: i32 = 200_000;

type Shell = Arc<Mutex<Session>>;

/// What all connections share.
#[derive(Debug, Default)]
pub(super) struct Handlers {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    shared: Arc<Shared>,
    connections: Arc<ConnectionManager>,
}

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        Arc::clone(&self.inner)
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        Arc::clone(&self.inner)
    }

    fn startup_handler(&self) -> Arc<impl pgwire::api::auth::StartupHandler> {
        Arc::clone(&self.inner)
    }

    fn error_handler(&self) -> Arc<impl ErrorHandler> {
        Arc::clone(&self.inner)
    }

    fn cancel_handler(&self) -> Arc<impl pgwire::api::cancel::CancelHandler> {
        Arc::new(DefaultCancelHandler::new(Arc::clone(
            &self.inner.connections,
        )))
    }
}

impl Inner {
    fn session(&self, client: &(impl ClientInfo + ?Sized)) -> Shell {
        let shared = || Mutex::new(Session::new(Arc::clone(&self.shared)));
        client.session_extensions().get_or_insert_with(shared)
    }
}

impl From<SqlError> for ErrorInfo {
    fn from(error: SqlError) -> Self {
        let mut info = Self::new("ERROR".to_owned(), error.code.to_owned(), error.message);
        if error.code == "0A000" {
            info.hint = Some(SUPPORTED.to_owned());
        }
        info
    }
}

impl From<SqlError> for PgWireError {
    fn from(error: SqlError) -> Self {
        Self::UserError(Box::new(error.into()))
    }
}

impl NoopStartupHandler for Inner {
    fn connection_manager(&self) -> Option<Arc<ConnectionManager>> {
        Some(Arc::clone(&self.connections))
    }
}

impl ErrorHandler for Inner {
    /// Whatever failed, also before a statement ran or while it was cancelled, fails the transaction.
    fn on_error<C>(&self, client: &C, _error: &mut PgWireError)
    where
        C: ClientInfo,
    {
        // Nothing else holds the lock: a connection handles one message at a time.
        if let Ok(mut session) = self.session(client).try_lock() {
            session.fail();
        }
    }
}

fn wire_type(kind: ColumnType) -> Type {
    match kind {
        ColumnType::Int4 => Type::INT4,
        ColumnType::Int8 => Type::INT8,
        ColumnType::Text => Type::TEXT,
        ColumnType::Boolean => Type::BOOL,
    }
}

fn schema(plan: &Plan, formats: &Format) -> Result<Vec<FieldInfo>, SqlError> {
    // pgwire takes the list of formats as it came; with too few of them it would panic.
    if let Format::Individual(formats) = formats
        && formats.len() != plan.columns.len()
    {
        let text = "the number of result formats differs from the number of columns";
        return Err(SqlError::new("08P01", text));
    }
    let fields = plan
        .columns
        .iter()
        .enumerate()
        .map(|(index, (name, kind))| {
            let width = match kind {
                ColumnType::Int4 => 4,
                ColumnType::Int8 => 8,
                ColumnType::Boolean => 1,
                ColumnType::Text => -1,
            };
            let format = formats.format_for(index);
            FieldInfo::new(name.clone(), None, None, wire_type(*kind), format).with_type_size(width)
        });
    Ok(fields.collect())
}

fn response(outcome: Outcome, plan: &Plan, formats: &Format) -> PgWireResult<Response> {
    let answer = match outcome {
        Outcome::Begun => return Ok(Response::TransactionStart(Tag::new("BEGIN"))),
        Outcome::Ended(tag) => return Ok(Response::TransactionEnd(Tag::new(tag))),
        Outcome::Answer(answer) => answer,
    };
    if plan.columns.is_empty() {
        let tag = Tag::new(answer.tag);
        return Ok(Response::Execution(match answer.count {
            Some(count) => tag.with_rows(count),
            None => tag,
        }));
    }
    rows(&answer, Arc::new(schema(plan, formats)?))
}

fn rows(answer: &Answer, fields: Arc<Vec<FieldInfo>>) -> PgWireResult<Response> {
    let mut encoder = DataRowEncoder::new(Arc::clone(&fields));
    let mut data = Vec::with_capacity(answer.rows.len());
    for row in &answer.rows {
        for (value, field) in row.iter().zip(fields.iter()) {
            match value {
                Value::Null => encoder.encode_field(&None::<String>)?,
                // Values were made to fit their column when they were stored.
                Value::Integer(n) if *field.datatype() == Type::INT4 => {
                    encoder.encode_field(&i32::try_from(*n).unwrap_or(i32::MAX))?;
                }
                Value::Integer(n) => encoder.encode_field(n)?,
                Value::Text(text) => encoder.encode_field(text)?,
                Value::Boolean(b) => encoder.encode_field(b)?,
            }
        }
        data.push(Ok(encoder.take_row()));
    }
    let mut response = QueryResponse::new(fields, stream::iter(data));
    response.set_command_tag(answer.tag);
    Ok(Response::Query(response))
}

#[async_trait]
impl SimpleQueryHandler for Inner {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let session = self.session(client);
        let mut session = session.lock().await;
        let mut responses = Vec::new();
        let statements = match parse(query) {
            Ok(statements) => statements,
            Err(error) => {
                session.fail();
                return Ok(vec![Response::Error(Box::new(error.into()))]);
            }
        };
        if statements.is_empty() {
            responses.push(Response::EmptyQuery);
        }
        for statement in statements {
            let planned = session
                .check(&statement)
                .and_then(|()| plan(statement, &self.shared.store()));
            let result = match planned {
                Ok(plan) if !plan.parameters.is_empty() => {
                    Err(SqlError::new("42P02", "there is no parameter $1"))
                }
                Ok(plan) => session.run(&plan, &[]).await.map(|outcome| (plan, outcome)),
                Err(error) => Err(error),
            };
            match result {
                Ok((plan, outcome)) => {
                    responses.push(response(outcome, &plan, &Format::UnifiedText)?);
                }
                Err(error) => {
                    session.fail();
                    responses.push(Response::Error(Box::new(error.into())));
                    break;
                }
            }
        }
        session.end_of_group();
        Ok(responses)
    }
}

#[async_trait]
impl QueryParser for Inner {
    type Statement = Plan;

    async fn parse_sql<C>(
        &self,
        client: &C,
        sql: &str,
        _types: &[Option<Type>],
    ) -> PgWireResult<Option<Plan>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut statements = parse(sql)?;
        let Some(statement) = statements.pop() else {
            return Ok(None);
        };
        if !statements.is_empty() {
            let text = "cannot insert multiple commands into a prepared statement";
            return Err(SqlError::new("42601", text).into());
        }
        self.session(client).lock().await.check(&statement)?;
        Ok(Some(plan(statement, &self.shared.store())?))
    }

    fn get_parameter_types(&self, plan: &Plan) -> PgWireResult<Vec<Type>> {
        Ok(plan.parameters.iter().copied().map(wire_type).collect())
    }

    fn get_result_schema(
        &self,
        plan: &Plan,
        formats: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        Ok(schema(plan, formats.unwrap_or(&Format::UnifiedText))?)
    }
}

/// Reads the parameters of a portal, each as the type that the client said it sends, or else the one it was told.
fn parameters(portal: &Portal<Plan>) -> PgWireResult<Vec<Value>> {
    let expected = &portal.statement.statement.parameters;
    if portal.parameter_len() != expected.len() {
        let text = format!(
            "bind message supplies {} parameters, but prepared statement requires {}",
            portal.parameter_len(),
            expected.len()
        );
        return Err(SqlError::new("08P01", text).into());
    }
    if let Format::Individual(formats) = &portal.parameter_format
        && formats.len() != expected.len()
    {
        let text = "the number of parameter formats differs from the number of parameters";
        return Err(SqlError::new("08P01", text).into());
    }
    let mut values = Vec::with_capacity(expected.len());
    for (index, kind) in expected.iter().enumerate() {
        let declared = portal.statement.parameter_types.get(index).cloned();
        let kind = declared.flatten().unwrap_or_else(|| wire_type(*kind));
        values.push(parameter(portal, index, &kind)?);
    }
    Ok(values)
}

fn parameter(portal: &Portal<Plan>, index: usize, kind: &Type) -> PgWireResult<Value> {
    let value = match *kind {
        Type::INT2 => portal
            .parameter::<i16>(index, kind)?
            .map(|n| Value::Integer(n.into())),
        Type::INT4 => portal
            .parameter::<i32>(index, kind)?
            .map(|n| Value::Integer(n.into())),
        Type::INT8 => portal.parameter::<i64>(index, kind)?.map(Value::Integer),
        Type::BOOL => portal.parameter::<bool>(index, kind)?.map(Value::Boolean),
        Type::TEXT | Type::VARCHAR | Type::UNKNOWN => {
            portal.parameter::<String>(index, kind)?.map(Value::Text)
        }
        _ => {
            let text = format!("parameters of type {} are not supported", kind.name());
            return Err(SqlError::unsupported(text).into());
        }
    };
    Ok(value.unwrap_or(Value::Null))
}

#[async_trait]
impl ExtendedQueryHandler for Inner {
    type Statement = Plan;
    type QueryParser = Self;

    fn query_parser(&self) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(&self.shared),
            connections: Arc::clone(&self.connections),
        })
    }

    async fn on_execute<C>(&self, client: &mut C, mut message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Plan>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // pgwire reserves room for as many rows as the client names.
        if !(0..=MAX_FETCH).contains(&message.max_rows) {
            message.max_rows = 0;
        }
        self._on_execute(client, message).await
    }

    async fn on_sync<C>(&self, client: &mut C, _message: SyncMessage) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Plan>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        self.session(client).lock().await.end_of_group();
        client.portal_store().rm_portal(DEFAULT_NAME);
        let ready = ReadyForQuery::new(client.transaction_status());
        client
            .send(PgWireBackendMessage::ReadyForQuery(ready))
            .await?;
        Ok(())
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<Plan>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Plan>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let plan = &portal.statement.statement;
        let values = parameters(portal)?;
        // Before anything runs: a wrong number of formats must not be found after a row was changed.
        schema(plan, &portal.result_column_format)?;
        let session = self.session(client);
        let outcome = session.lock().await.run(plan, &values).await?;
        response(outcome, plan, &portal.result_column_format)
    }
}
