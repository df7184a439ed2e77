package sdk

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/microsoft/durabletask-go/api"
)

func notFound(t *testing.T, err error) {
	t.Helper()
	equal(t, api.ErrInstanceNotFound.Error(), fmt.Sprint(err))
}

func missing(h *hub, id api.InstanceID) {
	h.t.Helper()
	_, err := h.FetchOrchestrationMetadata(h.ctx, id)
	notFound(h.t, err)
}

// purge_by_id: an ended instance goes, and its id is free; a second time there is none to purge.
func TestPurge(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"echo": echo}, nil)
	mine := api.WithInstanceID("mine")
	equal(t, "first", outputOf[string](h, h.start("echo", mine, api.WithInput("first"))))
	require(t, h.PurgeOrchestrationState(h.ctx, "mine"))
	missing(h, "mine")
	notFound(t, h.PurgeOrchestrationState(h.ctx, "mine"))
	equal(t, "second", outputOf[string](h, h.start("echo", mine, api.WithInput("second"))))
}

// purge_by_id: a live instance is none that could be purged, and goes on.
func TestPurgeLeavesLiveInstances(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"waiting": waiting}, nil)
	id := h.start("waiting")
	h.untilStatus(id, running)
	notFound(t, h.PurgeOrchestrationState(h.ctx, id, api.WithRecursivePurge(true)))
	h.raise(id, "finish", "still here")
	equal(t, "still here", outputOf[string](h, id))
}

// purge_by_id: children and grandchildren go along when asked for, and only then.
func TestPurgeRecursive(t *testing.T) {
	h := newHub(t)
	ids := startFamily(h, 2)
	h.raise(ids[2], "finish", "done")
	equal(t, "done", outputOf[string](h, ids[0]))
	require(t, h.PurgeOrchestrationState(h.ctx, ids[0]))
	missing(h, ids[0])
	equal(t, completed, h.state(ids[1]).RuntimeStatus)
	require(t, h.PurgeOrchestrationState(h.ctx, ids[1], api.WithRecursivePurge(true)))
	missing(h, ids[1])
	missing(h, ids[2])
}

// get_payload_flag: input, output and custom status stay away from those who do not ask for them.
func TestPayloadsOnlyOnRequest(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"echo": echo}, nil)
	id := h.start("echo", api.WithInput("heavy"))
	equal(t, "heavy", outputOf[string](h, id))
	light, err := h.FetchOrchestrationMetadata(h.ctx, id, api.WithFetchPayloads(false))
	require(t, err)
	equal(t, completed, light.RuntimeStatus)
	equal(t, "echo", light.Name)
	equal(t, "", light.SerializedInput+light.SerializedOutput)
	light, err = h.WaitForOrchestrationCompletion(h.ctx, id, api.WithFetchPayloads(false))
	require(t, err)
	equal(t, "", light.SerializedInput+light.SerializedOutput)
}

// wait_missing_then_created: a wait ends with its context, or with the instance that comes later.
func TestWaits(t *testing.T) {
	h := newHub(t)
	brief, cancel := context.WithTimeout(h.ctx, 200*time.Millisecond)
	defer cancel()
	_, err := h.WaitForOrchestrationCompletion(brief, "later")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait beyond its time: %v", err)
	}
	started := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(h.ctx, waitMax)
		defer cancel()
		_, err := h.WaitForOrchestrationStart(ctx, "later")
		started <- err
	}()
	h.start("echo", api.WithInstanceID("later"), api.WithInput("here"))
	h.worker(orchestrators{"echo": echo}, nil)
	require(t, <-started)
	equal(t, "here", outputOf[string](h, "later"))
}
