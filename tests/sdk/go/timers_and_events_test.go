package sdk

import (
	"errors"
	"testing"
	"time"

	"github.com/microsoft/durabletask-go/api"
	"github.com/microsoft/durabletask-go/task"
)

// waiting ends with the data of the event "finish".
func waiting(ctx *task.OrchestrationContext) (any, error) {
	return await[any](ctx.WaitForSingleEvent("finish", -1))
}

// A timer fires at its time, not before, for the orchestrator's clock as for everybody's.
func TestDurableTimer(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"sleeper": func(ctx *task.OrchestrationContext) (any, error) {
		due := ctx.CurrentTimeUtc.Add(time.Second)
		err := ctx.CreateTimer(time.Second).Await(nil)
		return ctx.CurrentTimeUtc.After(due), err
	}}, nil)
	begin := time.Now()
	equal(t, true, outputOf[bool](h, h.start("sleeper")))
	if slept := time.Since(begin); slept < time.Second {
		t.Errorf("slept only %s", slept)
	}
}

// Events raised before any worker has seen the instance are kept, in order, as are later ones.
func TestEventsRaisedBeforeAndAfterTheStart(t *testing.T) {
	h := newHub(t)
	listener := func(ctx *task.OrchestrationContext) (any, error) {
		var heard []int
		for len(heard) < 20 {
			note, err := await[int](ctx.WaitForSingleEvent("note", -1))
			if err != nil {
				return nil, err
			}
			heard = append(heard, note)
		}
		return heard, nil
	}
	id := h.start("listener")
	var notes []int
	for n := 0; n < 20; n++ {
		if n == 10 {
			h.worker(orchestrators{"listener": listener}, nil)
			h.untilStatus(id, running)
		}
		h.raise(id, "Note", n)
		h.raise(id, "other", "ignored")
		notes = append(notes, n)
	}
	equal(t, notes, outputOf[[]int](h, id))
}

// approval waits for an event, but only so many milliseconds.
func approval(ctx *task.OrchestrationContext) (any, error) {
	milliseconds, err := input[int](ctx)
	if err != nil {
		return nil, err
	}
	patience := time.Duration(milliseconds) * time.Millisecond
	answer, err := await[string](ctx.WaitForSingleEvent("approved", patience))
	if errors.Is(err, task.ErrTaskCanceled) {
		return "too late", nil
	}
	return answer, err
}

// The event wins against a timer of an hour, which does not hold up the end.
func TestWhenAnyTakesTheEvent(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"approval": approval}, nil)
	id := h.start("approval", api.WithInput(3600_000))
	h.raise(id, "approved", "by Ada")
	equal(t, "by Ada", outputOf[string](h, id))
}

// Without an event the timer wins.
func TestWhenAnyTakesTheTimer(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"approval": approval}, nil)
	equal(t, "too late", outputOf[string](h, h.start("approval", api.WithInput(200))))
}

// 100 generations, each takes one event; events raised early or in between are all kept.
func TestContinueAsNewCarriesEventsOver(t *testing.T) {
	h := newHub(t)
	counter := func(ctx *task.OrchestrationContext) (any, error) {
		heard, err := input[[]int](ctx)
		if err != nil {
			return nil, err
		}
		tick, err := await[int](ctx.WaitForSingleEvent("tick", -1))
		if heard = append(heard, tick); len(heard) < 100 {
			ctx.ContinueAsNew(heard, task.WithKeepUnprocessedEvents())
		}
		return heard, err
	}
	id := h.start("counter", api.WithInput([]int{}))
	var ticks []int
	for n := 0; n < 100; n++ {
		if n == 50 {
			h.worker(orchestrators{"counter": counter}, nil)
		}
		h.raise(id, "tick", n)
		ticks = append(ticks, n)
	}
	equal(t, ticks, outputOf[[]int](h, id))
}

// continue_race: task ids recur in every generation; no result reaches the wrong one.
func TestContinueAsNewWithActivitiesAndTimers(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"loop": func(ctx *task.OrchestrationContext) (any, error) {
		count, err := input[int](ctx)
		if err != nil {
			return nil, err
		}
		doubled, err := await[int](ctx.CallActivity("double", task.WithActivityInput(count)))
		if err != nil {
			return nil, err
		}
		if err := ctx.CreateTimer(10 * time.Millisecond).Await(nil); err != nil {
			return nil, err
		}
		if count < 20 {
			ctx.ContinueAsNew(count + 1)
		}
		return doubled, nil
	}}, activities{"double": func(ctx task.ActivityContext) (any, error) {
		number, err := input[int](ctx)
		return number * 2, err
	}})
	var loops []api.InstanceID
	for n := 0; n < 6; n++ {
		loops = append(loops, h.start("loop", api.WithInput(0)))
	}
	for _, id := range loops {
		equal(t, 40, outputOf[int](h, id))
	}
}
