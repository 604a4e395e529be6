//! What one connection asks for, one request after the other.

use super::store::Store;
use crate::connection::{Connection, ConnectionError};
use crate::manager::error::Failure;
use crate::manager::managed::Caller;
use crate::manager::protocol::{MESSAGE_LIMIT, Request, Response, decode, encode};
use std::os::fd::AsFd;

/// Serves a connection until it ends. What was held through it is let go.
pub(super) fn serve(connection: &Connection, store: &Store) {
    let mut session = None;
    while let Ok(message) = connection.recv_bytes(MESSAGE_LIMIT) {
        let Ok(request) = decode::<Request>(&message) else {
            let _ = connection.send_bytes(&encode(&Response::Failed(Failure::Protocol)));
            break;
        };
        if answer(connection, store, &mut session, request).is_err() {
            break;
        }
    }
    if let Some(session) = session {
        store.leave(session);
    }
}

/// Does what was asked, and answers it.
fn answer(
    connection: &Connection,
    store: &Store,
    session: &mut Option<u64>,
    request: Request<'_>,
) -> Result<(), ConnectionError> {
    let respond = |result: Result<Response<'_>, Failure>| {
        connection.send_bytes(&encode(&result.unwrap_or_else(Response::Failed)))
    };
    let here = session.ok_or(Failure::Protocol);
    match request {
        Request::Hello => respond(match here {
            Ok(_) => Err(Failure::Protocol),
            Err(_) => store.enter().map(|number| Response::Number(*session.insert(number))),
        }),
        Request::Create { wanted, name, arguments } => {
            respond(here.and_then(|here| store.create(here, wanted, name, arguments)).map(Response::Number))
        }
        Request::Find { wanted, name } => {
            respond(here.and_then(|here| store.find(here, wanted, name)).map(Response::Number))
        }
        Request::Hold { object } => respond(here.and_then(|here| store.hold(here, object)).map(|_| Response::Done)),
        Request::Release { object } => {
            // Nobody waits for an answer; one that was not held changes nothing.
            let _ = here.and_then(|here| store.release(here, object));
            Ok(())
        }
        Request::Forget { name } => respond(Ok(Response::Number(store.forget(name).into()))),
        Request::Count => respond(Ok(Response::Number(store.count()))),
        Request::Call { session, object, method, arguments } => {
            let object = match store.held(session, object) {
                Ok(object) => object,
                Err(failure) => return respond(Err(failure)),
            };
            let caller = Caller { session, connection: connection.as_fd() };
            let value = object.call(method, arguments, &caller);
            let sent = respond(match &value {
                Ok(value) => Ok(Response::Value(value)),
                Err(failure) => Err(failure.clone()),
            });
            // What the method has given to somebody who is gone must not stay with them.
            if let (Ok(value), Err(_)) = (&value, &sent) {
                object.undelivered(method, value);
            }
            if !store.is_there(session) {
                object.left(session);
            }
            sent
        }
    }
}
