// A worker with one orchestration and one activity, and a client that runs it, in one process.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/microsoft/durabletask-go/api"
	"github.com/microsoft/durabletask-go/backend"
	"github.com/microsoft/durabletask-go/client"
	"github.com/microsoft/durabletask-go/task"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

func hello(ctx task.ActivityContext) (any, error) {
	var city string
	if err := ctx.GetInput(&city); err != nil {
		return nil, err
	}
	return fmt.Sprintf("Hello, %s!", city), nil
}

func greetAll(ctx *task.OrchestrationContext) (any, error) {
	var cities []string
	if err := ctx.GetInput(&cities); err != nil {
		return nil, err
	}
	var tasks []task.Task
	for _, city := range cities {
		tasks = append(tasks, ctx.CallActivity("Hello", task.WithActivityInput(city)))
	}
	greetings := make([]string, len(tasks))
	for i, greeting := range tasks {
		if err := greeting.Await(&greetings[i]); err != nil {
			return nil, err
		}
	}
	return greetings, nil
}

func env(name, otherwise string) string {
	if value, ok := os.LookupEnv(name); ok {
		return value
	}
	return otherwise
}

func run() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	// The task hub travels with every call.
	hub := env("DTPG_HUB", "default")
	connection, err := grpc.Dial(env("DTPG_ADDRESS", "localhost:4001"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, request, reply any,
			connection *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
			ctx = metadata.AppendToOutgoingContext(ctx, "taskhub", hub)
			return invoke(ctx, method, request, reply, connection, options...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, description *grpc.StreamDesc,
			connection *grpc.ClientConn, method string, stream grpc.Streamer,
			options ...grpc.CallOption) (grpc.ClientStream, error) {
			ctx = metadata.AppendToOutgoingContext(ctx, "taskhub", hub)
			return stream(ctx, description, connection, method, options...)
		}))
	if err != nil {
		return err
	}
	defer connection.Close()

	registry := task.NewTaskRegistry()
	if err := registry.AddActivityN("Hello", hello); err != nil {
		return err
	}
	if err := registry.AddOrchestratorN("GreetAll", greetAll); err != nil {
		return err
	}
	hubClient := client.NewTaskHubGrpcClient(connection, backend.DefaultLogger())
	if err := hubClient.StartWorkItemListener(ctx, registry); err != nil {
		return err
	}

	instance, err := hubClient.ScheduleNewOrchestration(ctx, "GreetAll",
		api.WithInput([]string{"Lima", "Oslo", "Turin"}))
	if err != nil {
		return err
	}
	state, err := hubClient.WaitForOrchestrationCompletion(ctx, instance, api.WithFetchPayloads(true))
	if err != nil {
		return err
	}
	fmt.Println(state.RuntimeStatus, state.SerializedOutput)
	return nil
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
