package sdk

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/microsoft/durabletask-go/api"
	"github.com/microsoft/durabletask-go/task"
)

// Children and grandchildren with ids made by the server; results come back in the order of calls.
func TestSubOrchestrations(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{
		"leaf": func(ctx *task.OrchestrationContext) (any, error) {
			number, err := input[int](ctx)
			return number * 10, err
		},
		"branch": func(ctx *task.OrchestrationContext) (any, error) {
			number, err := input[int](ctx)
			if err != nil {
				return nil, err
			}
			ten, err := await[int](ctx.CallSubOrchestrator("leaf", task.WithSubOrchestratorInput(number)))
			return ten + number, err
		},
		"tree": func(ctx *task.OrchestrationContext) (any, error) {
			var children []task.Task
			for n := 0; n < 10; n++ {
				children = append(children,
					ctx.CallSubOrchestrator("branch", task.WithSubOrchestratorInput(n)))
			}
			var results []int
			for _, child := range children {
				result, err := await[int](child)
				if err != nil {
					return nil, err
				}
				results = append(results, result)
			}
			return results, nil
		},
	}, nil)
	id := h.start("tree")
	equal(t, []int{0, 11, 22, 33, 44, 55, 66, 77, 88, 99}, outputOf[[]int](h, id))
	equal(t, "branch", h.state(id+":0001").Name)
}

// child_retry_same_id: a child that failed twice under one id completes under the same id.
func TestSubOrchestrationRetriedWithTheSameId(t *testing.T) {
	h := newHub(t)
	var runs atomic.Int32
	h.worker(orchestrators{
		"child": func(*task.OrchestrationContext) (any, error) {
			if runs.Add(1) < 3 {
				return nil, errors.New("again")
			}
			return "third time lucky", nil
		},
		"parent": func(ctx *task.OrchestrationContext) (any, error) {
			return await[string](ctx.CallSubOrchestrator("child",
				task.WithSubOrchestrationInstanceID(string(ctx.ID)+"-child"),
				task.WithSubOrchestrationRetryPolicy(quickly(3))))
		},
	}, nil)
	id := h.start("parent")
	equal(t, "third time lucky", outputOf[string](h, id))
	equal(t, 3, runs.Load())
	equal(t, completed, h.state(id+"-child").RuntimeStatus)
}

// child_id_running: the id of a live instance fails the call, and leaves that instance alone.
func TestSubOrchestrationIdInUse(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"waiting": waiting, "parent": func(ctx *task.OrchestrationContext) (any, error) {
		taken, err := input[string](ctx)
		if err != nil {
			return nil, err
		}
		err = ctx.CallSubOrchestrator("waiting", task.WithSubOrchestrationInstanceID(taken)).Await(nil)
		return err.Error(), nil
	}}, nil)
	taken := h.start("waiting")
	h.untilStatus(taken, running)
	refusal := outputOf[string](h, h.start("parent", api.WithInput(taken)))
	if !strings.Contains(refusal, string(taken)) {
		t.Errorf("%q does not name %s", refusal, taken)
	}
	h.raise(taken, "finish", "undisturbed")
	equal(t, "undisturbed", outputOf[string](h, taken))
}
