"""How often the topological loss is computed."""

from topomae.training.topology_pace import TopologyPace


def steps(pace: TopologyPace, waited: float, rest: float, count: int = 60) -> list[str]:
    """Steps of `rest` seconds; where the loss is computed it adds `waited`. Returns what the user is told."""
    told = []
    for number in range(count):
        due = number % pace.every == 0
        told.append(pace.observe(waited if due else None, rest + (waited if due else 0.0)))
    return [sentence for sentence in told if sentence]


def test_beside_a_gpu_steps_become_at_most_a_tenth_longer_on_average():
    for waited in (0.0, 0.05, 0.11, 0.35, 0.6):
        pace = TopologyPace(None, can_hide=True)
        told = steps(pace, waited, rest=1.0)
        assert waited / pace.every <= 0.12, (waited, pace.every)
        assert pace.every == 1 or waited / (pace.every - 1) > 0.1  # and no more rarely than needed
        assert len(told) == 1 and f"{100 * waited:.0f} %" in told[0]


def test_the_loss_is_never_computed_more_rarely_than_every_eighth_step():
    pace = TopologyPace(None, can_hide=True)
    steps(pace, waited=50.0, rest=1.0)
    assert pace.every == 8


def test_the_pace_follows_a_loss_that_becomes_cheaper_and_says_so():
    pace = TopologyPace(None, can_hide=True)
    steps(pace, waited=0.5, rest=1.0)
    assert pace.every > 1
    told = steps(pace, waited=0.02, rest=1.0, count=1000)
    assert pace.every == 1
    assert len(told) == 1


def test_on_a_cpu_the_pace_never_depends_on_the_clock_but_the_cost_is_told_once():
    pace = TopologyPace(None, can_hide=False)
    assert len(steps(pace, waited=5.0, rest=1.0, count=1000)) == 1
    assert pace.every == 1


def test_a_pace_that_was_asked_for_stays():
    pace = TopologyPace(3, can_hide=True)
    assert not steps(pace, waited=5.0, rest=1.0)
    assert pace.every == 3


def test_a_resumed_run_goes_on_at_its_pace():
    pace, resumed = TopologyPace(None, can_hide=True), TopologyPace(None, can_hide=True)
    steps(pace, waited=0.5, rest=1.0)
    resumed.load(pace.state())
    assert resumed.every == pace.every > 1
