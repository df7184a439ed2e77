package sdk

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/microsoft/durabletask-go/api"
	"github.com/microsoft/durabletask-go/backend"
	"github.com/microsoft/durabletask-go/client"
	"github.com/microsoft/durabletask-go/task"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func echo(ctx *task.OrchestrationContext) (any, error) {
	return input[any](ctx)
}

// A scheduled orchestration is PENDING until its time, and starts then, not before.
func TestScheduledStart(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"echo": echo, "clock": func(ctx *task.OrchestrationContext) (any, error) {
		return ctx.CurrentTimeUtc, nil
	}}, nil)
	due := time.Now().Add(1500 * time.Millisecond)
	id := h.start("clock", api.WithStartTime(due))
	equal(t, "in between", outputOf[string](h, h.start("echo", api.WithInput("in between"))))
	equal(t, pending, h.state(id).RuntimeStatus)
	if started := outputOf[time.Time](h, id); started.Before(due) {
		t.Errorf("started at %s, due at %s", started, due)
	}
}

// Fails unless starting an instance with this id is refused because the id is in use.
func refused(h *hub, id api.InstanceID, options ...api.NewOrchestrationOptions) {
	h.t.Helper()
	_, err := h.ScheduleNewOrchestration(h.ctx, "waiting", append(options, api.WithInstanceID(id))...)
	// The SDK wraps the error of the call; the code is that of the wrapped one.
	for wrapped, ok := err.(interface{ Unwrap() error }); ok; wrapped, ok = err.(interface{ Unwrap() error }) {
		err = wrapped.Unwrap()
	}
	equal(h.t, codes.AlreadyExists.String(), status.Code(err).String())
	if !strings.Contains(err.Error(), api.ErrDuplicateInstance.Error()) {
		h.t.Errorf("%q does not say %q", err, api.ErrDuplicateInstance)
	}
}

// start_no_policy: an ended instance is replaced; a live one is not, and goes on untouched.
func TestIdInUse(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"echo": echo, "waiting": waiting}, nil)
	mine := api.WithInstanceID("mine")
	equal(t, "first", outputOf[string](h, h.start("echo", mine, api.WithInput("first"))))
	equal(t, "second", outputOf[string](h, h.start("echo", mine, api.WithInput("second"))))
	id := h.start("waiting", mine)
	h.untilStatus(id, running)
	refused(h, id)
	h.raise(id, "finish", "the live one")
	equal(t, "the live one", outputOf[string](h, id))
}

func reuse(action api.CreateOrchestrationAction,
	statuses ...api.OrchestrationStatus) api.NewOrchestrationOptions {
	return api.WithOrchestrationIdReusePolicy(
		&api.OrchestrationIdReusePolicy{Action: action, OperationStatus: statuses})
}

// go_policy_ignore: a start for an instance with a listed status does nothing, and is no error.
func TestReusePolicyIgnore(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"waiting": waiting}, nil)
	id := h.start("waiting", api.WithInput("first"))
	h.untilStatus(id, running)
	first := h.state(id)
	ignore := reuse(api.REUSE_ID_ACTION_IGNORE, running, completed, pending)
	equal(t, id, h.start("waiting", api.WithInstanceID(id), api.WithInput("second"), ignore))
	equal(t, first.CreatedAt, h.state(id).CreatedAt)
	h.raise(id, "finish", "the first run")
	equal(t, "the first run", outputOf[string](h, id))
	equal(t, `"first"`, h.state(id).SerializedInput)
}

// go_policy_terminate: an instance with a listed status gives way; one with another status does not.
func TestReusePolicyTerminate(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"waiting": waiting}, nil)
	id := h.start("waiting", api.WithInput("first"))
	h.untilStatus(id, running)
	first := h.state(id)
	refused(h, id, reuse(api.REUSE_ID_ACTION_TERMINATE, completed))
	refused(h, id, reuse(api.REUSE_ID_ACTION_ERROR))
	equal(t, id, h.start("waiting", api.WithInstanceID(id), api.WithInput("second"),
		reuse(api.REUSE_ID_ACTION_TERMINATE, running, completed, pending)))
	h.raise(id, "finish", "the second run")
	equal(t, "the second run", outputOf[string](h, id))
	second := h.state(id)
	equal(t, `"second"`, second.SerializedInput)
	if !second.CreatedAt.After(first.CreatedAt) {
		t.Errorf("created at %s, the first at %s", second.CreatedAt, first.CreatedAt)
	}
}

// A missing instance is told as such, by reads and by events.
func TestMissingInstance(t *testing.T) {
	h := newHub(t)
	_, err := h.FetchOrchestrationMetadata(h.ctx, "nobody")
	equal(t, api.ErrInstanceNotFound.Error(), fmt.Sprint(err))
	if err := h.RaiseEvent(h.ctx, "nobody", "finish"); !strings.Contains(fmt.Sprint(err), "NotFound") {
		t.Errorf("raising an event for nobody: %v", err)
	}
	require(t, h.TerminateOrchestration(h.ctx, "nobody"))
}

// default_hub: plain clients and workers share a hub, which is the one named "default".
func TestHubOfCallersThatNameNone(t *testing.T) {
	other := newHub(t)
	plain := openHub(t, "")
	name := "plain-" + other.name
	plain.worker(orchestrators{name: echo}, nil)
	id := plain.start(name, api.WithInput("plain"))
	equal(t, "plain", outputOf[string](plain, id))
	equal(t, "plain", outputOf[string](openHub(t, "default"), id))
	_, err := other.FetchOrchestrationMetadata(other.ctx, id)
	equal(t, api.ErrInstanceNotFound.Error(), fmt.Sprint(err))
}

// two_streams: two workers share 100 instances; each does its part, each result is right.
func TestTwoWorkers(t *testing.T) {
	h := newHub(t)
	type result struct {
		Worker string
		Number int
	}
	job := func(ctx *task.OrchestrationContext) (any, error) {
		number, err := input[int](ctx)
		if err != nil {
			return nil, err
		}
		return await[result](ctx.CallActivity("work", task.WithActivityInput(number)))
	}
	for _, name := range []string{"left", "right"} {
		name := name
		h.worker(orchestrators{"job": job}, activities{"work": func(ctx task.ActivityContext) (any, error) {
			number, err := input[int](ctx)
			return result{name, number * 3}, err
		}})
	}
	var jobs []api.InstanceID
	for n := 0; n < 100; n++ {
		jobs = append(jobs, h.start("job", api.WithInput(n)))
	}
	workers := map[string]bool{}
	for n, id := range jobs {
		done := outputOf[result](h, id)
		equal(t, n*3, done.Number)
		workers[done.Worker] = true
	}
	equal(t, map[string]bool{"left": true, "right": true}, workers)
}

// A worker that stops hands its orchestrations over to the next one.
func TestWorkerReplacedInTheMiddle(t *testing.T) {
	h := newHub(t)
	stop := h.worker(orchestrators{"waiting": waiting}, nil)
	id := h.start("waiting")
	h.untilStatus(id, running)
	stop()
	h.raise(id, "finish", "carried on")
	h.worker(orchestrators{"waiting": waiting}, nil)
	equal(t, "carried on", outputOf[string](h, id))
}

// stuckHub names, in the environment of the process that TestKilledWorker kills, its task hub.
const stuckHub = "DTPG_STUCK_HUB"

func survivor(ctx *task.OrchestrationContext) (any, error) {
	return await[string](ctx.CallActivity("work"))
}

// runStuckWorker is all that process does: a worker whose activity says that it has begun, and never
// ends.
func runStuckWorker(name string) {
	connection, err := dial(name)
	if err == nil {
		registry := task.NewTaskRegistry()
		registry.AddOrchestratorN("survivor", survivor)
		registry.AddActivityN("work", func(task.ActivityContext) (any, error) {
			fmt.Println("stuck")
			select {}
		})
		worker := client.NewTaskHubGrpcClient(connection, backend.DefaultLogger())
		err = worker.StartWorkItemListener(context.Background(), registry)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	select {}
}

// stream_drop: what a worker held when it was killed is done by another one.
func TestKilledWorker(t *testing.T) {
	h := newHub(t)
	victim := exec.Command(os.Args[0])
	victim.Env = append(os.Environ(), stuckHub+"="+h.name)
	output, err := victim.StdoutPipe()
	require(t, err)
	require(t, victim.Start())
	t.Cleanup(func() { victim.Wait() })
	id := h.start("survivor")
	line, err := bufio.NewReader(output).ReadString('\n')
	require(t, victim.Process.Kill())
	require(t, err)
	equal(t, "stuck\n", line)
	h.worker(orchestrators{"survivor": survivor}, activities{"work": func(task.ActivityContext) (any, error) {
		return "done by the second worker", nil
	}})
	equal(t, "done by the second worker", outputOf[string](h, id))
}
