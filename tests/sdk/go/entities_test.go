package sdk

import (
	"sync/atomic"
	"testing"

	"github.com/microsoft/durabletask-go/api"
	"github.com/microsoft/durabletask-go/backend"
	"github.com/microsoft/durabletask-go/client"
	"github.com/microsoft/durabletask-go/task"
)

// Counts the warnings of the SDK's worker: one for each item that it does not know.
type warnings struct {
	backend.Logger
	count atomic.Int64
}

func (w *warnings) Warnf(format string, values ...any) {
	w.count.Add(1)
	w.Logger.Warnf(format, values...)
}

// entity_not_to_go: this SDK has no entities. Signals, sent as its client can, wait for a worker that
// has them, and its own worker goes on.
func TestSignalsAreNotForThisWorker(t *testing.T) {
	h := newHub(t)
	connection, err := dial(h.name)
	require(t, err)
	t.Cleanup(func() { connection.Close() })
	logger := &warnings{Logger: backend.DefaultLogger()}
	h.TaskHubGrpcClient = client.NewTaskHubGrpcClient(connection, logger)
	h.worker(orchestrators{
		"Echo": func(ctx *task.OrchestrationContext) (any, error) { return input[string](ctx) },
	}, nil)
	h.raise("@counter@one", "op", map[string]any{
		"op": "add", "signal": true, "input": "1", "id": "6f0c1a52-5f3e-4f43-9a55-0d0a3c6f2d11"})
	for _, word := range []string{"served", "again"} {
		id := h.start("Echo", api.WithInput(word))
		equal(t, word, outputOf[string](h, id))
	}
	equal(t, 0, logger.count.Load())
}
