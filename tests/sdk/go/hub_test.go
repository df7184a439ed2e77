// Package sdk drives the daemon with the unmodified Go SDK.
//
// Every test has a task hub for itself. The hub travels as the call metadata "taskhub", which an
// interceptor of the connection adds. It keeps apart the tests that run at the same time against one
// daemon: without it, any worker may be given any orchestration. The daemon creates a hub when it is
// first named.
package sdk

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/microsoft/durabletask-go/api"
	"github.com/microsoft/durabletask-go/backend"
	"github.com/microsoft/durabletask-go/client"
	"github.com/microsoft/durabletask-go/task"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

const (
	completed  = api.RUNTIME_STATUS_COMPLETED
	failed     = api.RUNTIME_STATUS_FAILED
	pending    = api.RUNTIME_STATUS_PENDING
	running    = api.RUNTIME_STATUS_RUNNING
	suspended  = api.RUNTIME_STATUS_SUSPENDED
	terminated = api.RUNTIME_STATUS_TERMINATED

	waitMax  = 60 * time.Second // The bound of every wait; a test that needs so long has failed.
	fetchPer = 20 * time.Millisecond
)

type orchestrators map[string]task.Orchestrator
type activities map[string]task.Activity

// A task hub by name; "" is the hub of callers that name none.
type hub struct {
	*client.TaskHubGrpcClient
	t    *testing.T
	name string
	ctx  context.Context // Ends with the test, and stops its workers.
}

func TestMain(m *testing.M) {
	if name, ok := os.LookupEnv(stuckHub); ok {
		runStuckWorker(name)
	}
	os.Exit(m.Run())
}

// A fresh hub for a test, which runs at the same time as the others.
func newHub(t *testing.T) *hub {
	t.Parallel()
	var random [6]byte
	_, err := rand.Read(random[:])
	require(t, err)
	return openHub(t, "go-"+hex.EncodeToString(random[:]))
}

func openHub(t *testing.T, name string) *hub {
	t.Helper()
	connection, err := dial(name)
	require(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel() // First: a worker would try for ever to connect again.
		connection.Close()
	})
	return &hub{client.NewTaskHubGrpcClient(connection, backend.DefaultLogger()), t, name, ctx}
}

func dial(name string) (*grpc.ClientConn, error) {
	address := os.Getenv("DTPG_ADDRESS")
	if address == "" {
		return nil, errors.New("DTPG_ADDRESS is not set")
	}
	inHub := func(ctx context.Context) context.Context {
		if name == "" {
			return ctx
		}
		return metadata.AppendToOutgoingContext(ctx, "taskhub", name)
	}
	unary := func(ctx context.Context, method string, request, reply any, cc *grpc.ClientConn,
		call grpc.UnaryInvoker, options ...grpc.CallOption) error {
		return call(inHub(ctx), method, request, reply, cc, options...)
	}
	stream := func(ctx context.Context, description *grpc.StreamDesc, cc *grpc.ClientConn,
		method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
		return open(inHub(ctx), description, cc, method, options...)
	}
	return grpc.Dial(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(unary), grpc.WithStreamInterceptor(stream))
}

// Starts a worker with these functions; it stops with the test, or when the result is called.
func (h *hub) worker(o orchestrators, a activities) context.CancelFunc {
	h.t.Helper()
	registry := task.NewTaskRegistry()
	for name, orchestrator := range o {
		require(h.t, registry.AddOrchestratorN(name, orchestrator))
	}
	for name, activity := range a {
		require(h.t, registry.AddActivityN(name, activity))
	}
	ctx, stop := context.WithCancel(h.ctx)
	require(h.t, h.StartWorkItemListener(ctx, registry))
	return stop
}

func (h *hub) start(name string, options ...api.NewOrchestrationOptions) api.InstanceID {
	h.t.Helper()
	id, err := h.ScheduleNewOrchestration(h.ctx, name, options...)
	require(h.t, err)
	return id
}

// The state of the instance once it has ended.
func (h *hub) wait(id api.InstanceID) *api.OrchestrationMetadata {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.ctx, waitMax)
	defer cancel()
	state, err := h.WaitForOrchestrationCompletion(ctx, id)
	require(h.t, err)
	return state
}

func (h *hub) waitForStart(id api.InstanceID) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.ctx, waitMax)
	defer cancel()
	_, err := h.WaitForOrchestrationStart(ctx, id)
	require(h.t, err)
}

func (h *hub) state(id api.InstanceID) *api.OrchestrationMetadata {
	h.t.Helper()
	state, err := h.FetchOrchestrationMetadata(h.ctx, id)
	require(h.t, err)
	return state
}

func (h *hub) raise(id api.InstanceID, event string, data any) {
	h.t.Helper()
	require(h.t, h.RaiseEvent(h.ctx, id, event, api.WithEventPayload(data)))
}

// Waits until the state of the instance is as wanted.
func (h *hub) until(id api.InstanceID, wanted func(*api.OrchestrationMetadata) bool) {
	h.t.Helper()
	for deadline := time.Now().Add(waitMax); !wanted(h.state(id)); time.Sleep(fetchPer) {
		if time.Now().After(deadline) {
			h.t.Fatalf("%s is not as wanted within %s: %+v", id, waitMax, h.state(id))
		}
	}
}

func (h *hub) untilStatus(id api.InstanceID, status api.OrchestrationStatus) {
	h.t.Helper()
	h.until(id, func(state *api.OrchestrationMetadata) bool { return state.RuntimeStatus == status })
}

// What the orchestration returned; fails if it does not complete.
func outputOf[T any](h *hub, id api.InstanceID) T {
	h.t.Helper()
	state := h.wait(id)
	equal(h.t, completed, state.RuntimeStatus)
	var output T
	require(h.t, json.Unmarshal([]byte(state.SerializedOutput), &output))
	return output
}

// Awaits a task and returns its result.
func await[T any](t task.Task) (T, error) {
	var result T
	err := t.Await(&result)
	return result, err
}

// The input of an orchestration or an activity.
func input[T any](ctx interface{ GetInput(any) error }) (T, error) {
	var value T
	err := ctx.GetInput(&value)
	return value, err
}

func require(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Fails unless both are the same as JSON.
func equal(t *testing.T, expected, actual any) {
	t.Helper()
	want, err := json.Marshal(expected)
	require(t, err)
	got, err := json.Marshal(actual)
	require(t, err)
	if string(want) != string(got) {
		t.Fatalf("expected %.2000s\n     got %.2000s", want, got)
	}
}
