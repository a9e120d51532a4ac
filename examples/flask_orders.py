"""Flask: a view whose order and message are one commit, a health check, workers with the application's context."""

import os

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, mapped_column

import pgqueue
from pgqueue.integrations.flask import PGQueue

db = SQLAlchemy()
queue = PGQueue()


class Order(db.Model):  # type: ignore[name-defined,misc]
    """A row."""

    number: Mapped[int] = mapped_column(primary_key=True)
    customer: Mapped[str]


@pgqueue.actor(store_results=True)
def ship(number: int) -> str:
    """Runs in a worker, in the context of the application."""
    return f"order {number} is on its way to {db.session.get_one(Order, number).customer}"


def create_app() -> Flask:
    """Make the application; workers do so too: `pgqueue flask_orders:create_app`, or `flask pgqueue worker`."""
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["PGQUEUE_URL"].replace("://", "+psycopg://", 1)
    app.config["PGQUEUE_HEALTH_PATH"] = "/health/queue"
    db.init_app(app)
    queue.init_app(app)

    @app.post("/orders/<customer>")
    def place(customer: str) -> str:
        order = Order(customer=customer)
        db.session.add(order)
        db.session.flush()
        message = ship.send(order.number)
        db.session.commit()  # of both
        return message.get_result(block=True, timeout=30_000)

    return app


app = create_app()

if __name__ == "__main__":
    with app.app_context():
        db.create_all()
    client = app.test_client()
    print(client.post("/orders/Ada").text)
    print(client.get("/health/queue").json)
    queue.broker.close()
