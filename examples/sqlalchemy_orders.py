"""SQLAlchemy: what is sent while a session is in a transaction is sent by its commit, and never after a rollback."""

import os

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker

import pgqueue
from pgqueue.brokers.postgres import PostgresBroker
from pgqueue.integrations.sqlalchemy import bind
from pgqueue.results import Results
from pgqueue.results.backends import PostgresBackend

broker = PostgresBroker()
broker.add_middleware(Results(backend=PostgresBackend(broker=broker)))
pgqueue.set_broker(broker)

engine = create_engine(os.environ["PGQUEUE_URL"].replace("postgresql://", "postgresql+psycopg://"))
sessions = sessionmaker(engine)
bind(sessions)


@pgqueue.actor(store_results=True)
def ship(number: int) -> str:
    """Runs in a worker: the order is there, for its transaction has committed."""
    find = text("SELECT customer FROM orders WHERE number = :number")
    with sessions() as session:
        customer = session.execute(find, {"number": number}).scalar_one()
    return f"order {number} is on its way to {customer}"


def place(session: Session, customer: str) -> pgqueue.Message[str]:
    """Nothing here knows of transactions."""
    insert = text("INSERT INTO orders (customer) VALUES (:customer) RETURNING number")
    return ship.send(session.execute(insert, {"customer": customer}).scalar_one())


if __name__ == "__main__":
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS orders (number serial, customer text)"))
    with sessions.begin() as session:
        message = place(session, "Ada")
        print(f"Before the commit: {message.status()}.")
    print(f"After it: {message.get_result(block=True, timeout=30_000)}.")
    with sessions() as session:
        message = place(session, "Nobody")
        session.rollback()
    print(f"Rolled back: {message.status()}.")
    broker.close()
