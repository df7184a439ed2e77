package sdk

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/microsoft/durabletask-go/api"
	"github.com/microsoft/durabletask-go/task"
)

// A suspended orchestration keeps its events for later; others go on meanwhile.
func TestSuspendAndResume(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"waiting": waiting, "quick": func(*task.OrchestrationContext) (any, error) {
		return "quick", nil
	}}, nil)
	id := h.start("waiting")
	require(t, h.SuspendOrchestration(h.ctx, id, "lunch"))
	h.untilStatus(id, suspended)
	h.raise(id, "finish", "after lunch")
	equal(t, "quick", outputOf[string](h, h.start("quick")))
	equal(t, suspended, h.state(id).RuntimeStatus)
	require(t, h.ResumeOrchestration(h.ctx, id, "back"))
	equal(t, "after lunch", outputOf[string](h, id))
}

// suspend_reemit: the SDK sends its pending activity again while suspended; it runs once.
func TestSuspendWithAnActivityInFlight(t *testing.T) {
	h := newHub(t)
	var runs atomic.Int32
	begun, finish := make(chan struct{}), make(chan struct{})
	h.worker(orchestrators{"busy": func(ctx *task.OrchestrationContext) (any, error) {
		return await[string](ctx.CallActivity("slow"))
	}}, activities{"slow": func(task.ActivityContext) (any, error) {
		if runs.Add(1) == 1 {
			close(begun)
		}
		<-finish
		return "done", nil
	}})
	id := h.start("busy")
	<-begun
	require(t, h.SuspendOrchestration(h.ctx, id, ""))
	h.untilStatus(id, suspended)
	close(finish)
	require(t, h.ResumeOrchestration(h.ctx, id, ""))
	equal(t, "done", outputOf[string](h, id))
	equal(t, 1, runs.Load())
}

// family has one child, named <own id>-child, and so on down; the last one is waiting.
func family(ctx *task.OrchestrationContext) (any, error) {
	generations, err := input[int](ctx)
	if err != nil {
		return nil, err
	}
	child := "waiting"
	if generations > 1 {
		child = "family"
	}
	return await[any](ctx.CallSubOrchestrator(child, task.WithSubOrchestratorInput(generations-1),
		task.WithSubOrchestrationInstanceID(string(ctx.ID)+"-child")))
}

func startFamily(h *hub, generations int) []api.InstanceID {
	h.t.Helper()
	h.worker(orchestrators{"family": family, "waiting": waiting}, nil)
	ids := []api.InstanceID{h.start("family", api.WithInput(generations))}
	for n := 0; n < generations; n++ {
		ids = append(ids, ids[n]+"-child")
	}
	for _, id := range ids {
		h.waitForStart(id)
	}
	return ids
}

// Terminating an orchestration takes its children and grandchildren along.
func TestTerminateRecursive(t *testing.T) {
	h := newHub(t)
	ids := startFamily(h, 2)
	require(t, h.TerminateOrchestration(h.ctx, ids[0], api.WithOutput("that is all")))
	for _, id := range ids {
		state := h.wait(id)
		equal(t, terminated, state.RuntimeStatus)
		equal(t, `"that is all"`, state.SerializedOutput)
	}
}

// Without recursion the child goes on to its own end; its result changes nothing above.
func TestTerminateNotRecursive(t *testing.T) {
	h := newHub(t)
	ids := startFamily(h, 1)
	require(t, h.TerminateOrchestration(h.ctx, ids[0], api.WithRawOutput("only me"),
		api.WithRecursiveTerminate(false)))
	equal(t, terminated, h.wait(ids[0]).RuntimeStatus)
	h.raise(ids[1], "finish", "still here")
	equal(t, "still here", outputOf[string](h, ids[1]))
	equal(t, "only me", h.state(ids[0]).SerializedOutput)
}

// terminate_pending: without any worker it ends at once, and no worker ever gets it.
func TestTerminatePending(t *testing.T) {
	h := newHub(t)
	id := h.start("never")
	equal(t, pending, h.state(id).RuntimeStatus)
	require(t, h.TerminateOrchestration(h.ctx, id, api.WithOutput("not needed")))
	state := h.state(id)
	equal(t, terminated, state.RuntimeStatus)
	equal(t, `"not needed"`, state.SerializedOutput)
	var started atomic.Bool
	h.worker(orchestrators{
		"never": func(*task.OrchestrationContext) (any, error) { started.Store(true); return nil, nil },
		"probe": func(*task.OrchestrationContext) (any, error) { return "ran", nil },
	}, nil)
	equal(t, "ran", outputOf[string](h, h.start("probe")))
	equal(t, false, started.Load())
}

// The custom status shows while the orchestration runs, follows it, and stays at its end.
func TestCustomStatus(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"talkative": func(ctx *task.OrchestrationContext) (any, error) {
		for step := 0; step < 3; step++ {
			ctx.SetCustomStatus(fmt.Sprintf("step %d", step))
			if err := ctx.WaitForSingleEvent("next", -1).Await(nil); err != nil {
				return nil, err
			}
		}
		ctx.SetCustomStatus("over ✓")
		return "said it all", nil
	}}, nil)
	id := h.start("talkative")
	for step := 0; step < 3; step++ {
		h.until(id, func(state *api.OrchestrationMetadata) bool {
			return state.SerializedCustomStatus == fmt.Sprintf("step %d", step)
		})
		h.raise(id, "next", nil)
	}
	equal(t, "said it all", outputOf[string](h, id))
	equal(t, "over ✓", h.state(id).SerializedCustomStatus)
}
