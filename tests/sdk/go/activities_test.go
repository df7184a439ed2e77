package sdk

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/microsoft/durabletask-go/api"
	"github.com/microsoft/durabletask-go/task"
)

// Each activity gets what the one before it returned.
func TestActivityChain(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"chain": func(ctx *task.OrchestrationContext) (any, error) {
		value, err := input[int](ctx)
		for step := 1; step <= 5 && err == nil; step++ {
			value, err = await[int](ctx.CallActivity("add", task.WithActivityInput([]int{value, step})))
		}
		return value, err
	}}, activities{"add": func(ctx task.ActivityContext) (any, error) {
		numbers, err := input[[]int](ctx)
		return numbers[0] + numbers[1], err
	}})
	equal(t, 115, outputOf[int](h, h.start("chain", api.WithInput(100))))
}

// 100 activities at once; results come back in the order of the calls.
func TestFanOutFanInOf100(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"fan_out": func(ctx *task.OrchestrationContext) (any, error) {
		var tasks []task.Task
		for n := 0; n < 100; n++ {
			tasks = append(tasks, ctx.CallActivity("square", task.WithActivityInput(n)))
		}
		squares := make([]int, len(tasks))
		for n, call := range tasks {
			if err := call.Await(&squares[n]); err != nil {
				return nil, err
			}
		}
		return squares, nil
	}}, activities{"square": func(ctx task.ActivityContext) (any, error) {
		number, err := input[int](ctx)
		return number * number, err
	}})
	squares := outputOf[[]int](h, h.start("fan_out"))
	equal(t, 100, len(squares))
	for n, square := range squares {
		equal(t, n*n, square)
	}
}

func quickly(attempts int) *task.RetryPolicy {
	return &task.RetryPolicy{MaxAttempts: attempts, InitialRetryInterval: 50 * time.Millisecond}
}

// A policy of three attempts reaches the third, which succeeds; one of two does not.
func TestActivityRetries(t *testing.T) {
	h := newHub(t)
	var attempts atomic.Int32
	h.worker(orchestrators{"retry": func(ctx *task.OrchestrationContext) (any, error) {
		allowed, err := input[int](ctx)
		if err != nil {
			return nil, err
		}
		return await[string](ctx.CallActivity("flaky", task.WithActivityRetryPolicy(quickly(allowed))))
	}}, activities{"flaky": func(ctx task.ActivityContext) (any, error) {
		if attempt := attempts.Add(1); attempt < 3 {
			return nil, fmt.Errorf("attempt %d", attempt)
		}
		return "done", nil
	}})
	equal(t, "done", outputOf[string](h, h.start("retry", api.WithInput(3))))
	equal(t, 3, attempts.Load())
	attempts.Store(0)
	equal(t, failed, h.wait(h.start("retry", api.WithInput(2))).RuntimeStatus)
	equal(t, 2, attempts.Load())
}

// An error of the orchestrator or of an activity fails the orchestration; a parent sees its message.
func TestUnhandledException(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{
		"throws": func(*task.OrchestrationContext) (any, error) {
			return nil, errors.New("no such thing: Grüße, 世界")
		},
		"calls": func(ctx *task.OrchestrationContext) (any, error) {
			return nil, ctx.CallActivity("throws").Await(nil)
		},
		"parent": func(ctx *task.OrchestrationContext) (any, error) {
			child, err := input[string](ctx)
			if err != nil {
				return nil, err
			}
			return ctx.CallSubOrchestrator(child).Await(nil).Error(), nil
		},
	}, activities{"throws": func(task.ActivityContext) (any, error) {
		return nil, errors.New("the activity failed: Grüße, 世界")
	}})
	state := h.wait(h.start("throws"))
	equal(t, failed, state.RuntimeStatus)
	equal(t, "", state.SerializedOutput)
	for child, message := range map[string]string{
		"throws": "no such thing: Grüße, 世界", "calls": "the activity failed: Grüße, 世界"} {
		output := outputOf[string](h, h.start("parent", api.WithInput(child)))
		if !strings.Contains(output, message) {
			t.Errorf("%q does not tell of %q", output, message)
		}
	}
}

// 32 results of 64 KiB come back whole, and so does the output of 2 MiB made of them.
func TestLargeFanOutResult(t *testing.T) {
	h := newHub(t)
	const letters = "abcdefghijklmnopqrstuvwxyz012345"
	h.worker(orchestrators{"gather": func(ctx *task.OrchestrationContext) (any, error) {
		var tasks []task.Task
		for _, letter := range letters {
			tasks = append(tasks, ctx.CallActivity("block", task.WithActivityInput(string(letter))))
		}
		var all strings.Builder
		for _, call := range tasks {
			block, err := await[string](call)
			if err != nil {
				return nil, err
			}
			all.WriteString(block)
		}
		return all.String(), nil
	}}, activities{"block": func(ctx task.ActivityContext) (any, error) {
		letter, err := input[string](ctx)
		return strings.Repeat(letter, 65536), err
	}})
	var expected strings.Builder
	for _, letter := range letters {
		expected.WriteString(strings.Repeat(string(letter), 65536))
	}
	output := outputOf[string](h, h.start("gather"))
	equal(t, 2<<20, len(output))
	if output != expected.String() {
		t.Fatal("the output is not what the activities gave")
	}
}

// All texts survive input, activity, event, sub-orchestration, custom status and output.
func TestUnicode(t *testing.T) {
	h := newHub(t)
	texts := []string{"", " spaces ", "Zażółć gęślą jaźń", "日本語テキスト", "🙂👩‍👩‍👧‍👦🏴‍☠️",
		"e\u0301 is not \u00e9", "line\nbreaks\r\nand\ttabs", "quotes ' \" \\ $1 %s {} \\x00 \\N",
		"\u0000 and \u001f escaped", "\ufeff\u2028\u202e"}
	echo := func(ctx *task.OrchestrationContext) (any, error) { return input[[]string](ctx) }
	h.worker(orchestrators{"echo": echo, "journey": func(ctx *task.OrchestrationContext) (any, error) {
		ctx.SetCustomStatus("größe 📏")
		sent, err := input[[]string](ctx)
		if err != nil {
			return nil, err
		}
		repeated, err := await[[]string](ctx.CallActivity("repeat", task.WithActivityInput(sent)))
		if err != nil {
			return nil, err
		}
		echoed, err := await[[]string](
			ctx.CallSubOrchestrator("echo", task.WithSubOrchestratorInput(repeated)))
		if err != nil {
			return nil, err
		}
		event, err := await[[]string](ctx.WaitForSingleEvent("größe 📏", -1))
		return [][]string{echoed, event}, err
	}}, activities{"repeat": func(ctx task.ActivityContext) (any, error) {
		return input[[]string](ctx)
	}})
	id := h.start("journey", api.WithInput(texts), api.WithInstanceID("ключ-🔑"))
	h.raise(id, "größe 📏", texts)
	equal(t, [][]string{texts, texts}, outputOf[[][]string](h, id))
	equal(t, "größe 📏", h.state(id).SerializedCustomStatus)
}

// What the SDK sends is stored as it is: JSON texts, the empty text, text that is no JSON, nothing.
func TestPayloadsAreStoredAsSent(t *testing.T) {
	h := newHub(t)
	h.worker(orchestrators{"nothing": func(*task.OrchestrationContext) (any, error) {
		return nil, nil
	}}, nil)
	for _, payload := range []string{"", "null", `""`, "not JSON", " { } "} {
		state := h.wait(h.start("nothing", api.WithRawInput(payload)))
		equal(t, payload, state.SerializedInput)
		equal(t, "", state.SerializedOutput)
	}
	equal(t, "", h.wait(h.start("nothing")).SerializedInput)
}
