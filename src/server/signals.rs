//! Signals, as orders to the control loop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::control::Order;

/// Catches signals from now on and turns each into an order. Needs a tokio runtime.
pub(super) fn watch(orders: mpsc::Sender<Order>) -> io::Result<()> {
    let mut hangups = signal(SignalKind::hangup())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut handovers = signal(SignalKind::user_defined2())?;
    tokio::spawn(async move {
        loop {
            let order = tokio::select! {
                () = next(&mut hangups) => Order::Reload,
                // The control loop knows whether this is the first one.
                () = next(&mut terminations) => Order::Terminate,
                () = next(&mut interrupts) => Order::Stop,
                () = next(&mut handovers) => {
                    tracing::warn!("SIGUSR2: handing over to a new binary is not available yet; restart instead");
                    continue;
                }
            };
            if orders.send(order).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The next one; never, should the runtime's signal driver be gone.
async fn next(signals: &mut Signal) {
    if signals.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}
