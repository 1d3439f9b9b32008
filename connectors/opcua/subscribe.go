package opcua

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gopcua/opcua/ua"

	"github.com/plantloom/plantloom/pipeline"
)

// errStatusChange is a subscription's end that the server announced.
var errStatusChange = errors.New("the server ended the subscription")

// subscriptionLost reports that the server does not have the subscription any more.
func subscriptionLost(err error) bool {
	return errors.Is(err, ua.StatusBadSubscriptionIDInvalid) || errors.Is(err, ua.StatusBadNoSubscription) || errors.Is(err, errStatusChange)
}

// subscribe makes the record's subscription ours again, or creates one. fresh tells that it was created, and that
// every tag's first value is its state and not a change.
func (s *Source) subscribe(ctx context.Context, l *link) (fresh bool, err error) {
	r := s.rec
	if r.Subscription != 0 && r.ServerURI == l.serverURI && r.StartedAt.Equal(l.startedAt) {
		if l.resumed {
			return false, nil
		}
		ok, err := s.transfer(ctx, l)
		if ok || err != nil {
			return false, err
		}
	}
	if err := s.createSubscription(ctx, l); err != nil {
		return false, err
	}
	all := make([]int, len(s.host.Tags))
	for i := range all {
		all[i] = i
	}
	if s.rec.Bad, err = s.createItems(ctx, l, all); err != nil {
		s.rec.Subscription = 0 // half made: the next attempt makes another
	}
	return true, err
}

// transfer moves the subscription from a session that is gone to this one. ok is false when the server cannot.
func (s *Source) transfer(ctx context.Context, l *link) (ok bool, err error) {
	// The values that wait in the subscription are all that is needed: no initial ones are asked for.
	resp, err := call[*ua.TransferSubscriptionsResponse](ctx, l, &ua.TransferSubscriptionsRequest{SubscriptionIDs: []uint32{s.rec.Subscription}})
	if err == nil && len(resp.Results) == 1 && resp.Results[0] != nil && !bad(resp.Results[0].StatusCode) {
		s.host.Count("subscriptions_transferred", 1)
		return true, nil
	}
	if err != nil {
		if _, answered := errors.AsType[ua.StatusCode](err); !answered || sessionLost(err) || l.ch.Err() != nil {
			return false, fmt.Errorf("transferring the subscription: %w", err)
		}
	}
	s.host.Log.Info("the server did not hand the subscription over, making a new one", "connector", s.host.ID, "err", err)
	return false, nil
}

func bad(code ua.StatusCode) bool { return pipeline.Quality(code).IsBad() }

// createSubscription starts the record anew; what is durable of each tag stays.
func (s *Source) createSubscription(ctx context.Context, l *link) error {
	publishing := s.cfg.PublishingInterval
	keep := uint32(max(1, math.Round(float64(s.cfg.KeepaliveInterval)/float64(publishing))))
	life := uint32(max(3*int64(keep), int64(s.cfg.Lifetime/publishing)))
	resp, err := call[*ua.CreateSubscriptionResponse](ctx, l, &ua.CreateSubscriptionRequest{
		RequestedPublishingInterval: milliseconds(publishing), RequestedMaxKeepAliveCount: keep, RequestedLifetimeCount: life,
		MaxNotificationsPerPublish: maxNotifications, PublishingEnabled: true,
	})
	if err != nil {
		return fmt.Errorf("creating a subscription: %w", err)
	}
	revised := time.Duration(resp.RevisedPublishingInterval * float64(time.Millisecond))
	if revised <= 0 || revised > time.Hour {
		revised = publishing
	}
	granted := revised * time.Duration(min(max(resp.RevisedMaxKeepAliveCount, 1), 1<<20))
	old := s.rec
	s.rec = &record{
		ServerURI: l.serverURI, StartedAt: l.startedAt, Subscription: resp.SubscriptionID, CreatedAt: s.host.Now(),
		KeepAlive: granted, Publishing: revised, Watermark: old.Watermark, Last: old.Last,
		Filling: slices.ContainsFunc(old.Last, func(t time.Time) bool { return !t.IsZero() }),
	}
	s.host.Count("subscriptions_created", 1)
	log := s.host.Log.Info
	if revised > 2*publishing || granted > 2*s.cfg.KeepaliveInterval {
		log = s.host.Log.Warn
	}
	log("subscription created", "connector", s.host.ID, "subscription", resp.SubscriptionID, "publishing", revised, "publishing_asked", publishing,
		"keepalive", granted, "keepalive_asked", s.cfg.KeepaliveInterval, "lifetime", revised*time.Duration(min(resp.RevisedLifetimeCount, 1<<20)))
	return nil
}

// maxNotifications bounds one message: 10,000 doubles with both timestamps are 300 kB.
const maxNotifications = 10_000

// createItems makes monitored items for these tags and returns those that the server refused, sorted.
func (s *Source) createItems(ctx context.Context, l *link, tags []int) (refused []int, err error) {
	var items []*ua.MonitoredItemCreateRequest
	var asked []int
	refuse := func(tag int, code pipeline.Quality, why string) {
		refused = append(refused, tag)
		s.refused[tag] = refusal{code: code, why: why, announced: s.refused[tag].announced}
	}
	for _, tag := range tags {
		n, ok := s.nodes[tag].node(l.namespaces)
		if !ok {
			refuse(tag, pipeline.BadNodeIDUnknown, "the server has no namespace "+s.nodes[tag].uri)
			continue
		}
		asked = append(asked, tag)
		items = append(items, &ua.MonitoredItemCreateRequest{
			ItemToMonitor:  &ua.ReadValueID{NodeID: n, AttributeID: ua.AttributeIDValue, DataEncoding: &ua.QualifiedName{}},
			MonitoringMode: ua.MonitoringModeReporting,
			RequestedParameters: &ua.MonitoringParameters{
				ClientHandle: uint32(tag), SamplingInterval: milliseconds(s.cfg.SamplingInterval), QueueSize: s.cfg.queue(),
				DiscardOldest: true, Filter: ua.NewExtensionObject(nil),
			},
		})
	}
	worse := 0
	err = l.batches(len(items), &l.limits.items, func(from, to int) error {
		resp, err := call[*ua.CreateMonitoredItemsResponse](ctx, l, &ua.CreateMonitoredItemsRequest{
			SubscriptionID: s.rec.Subscription, TimestampsToReturn: ua.TimestampsToReturnBoth, ItemsToCreate: items[from:to],
		})
		if err != nil {
			return err
		}
		if len(resp.Results) != to-from {
			return fmt.Errorf("%d results for %d items: %w", len(resp.Results), to-from, ua.StatusBadUnknownResponse)
		}
		for i, r := range resp.Results {
			switch {
			case r == nil:
				refuse(asked[from+i], pipeline.BadCommunicationError, "the server gave no answer for it")
			case bad(r.StatusCode):
				refuse(asked[from+i], pipeline.Quality(r.StatusCode), statusText(r.StatusCode))
			default:
				delete(s.refused, asked[from+i])
			}
			if r != nil && !bad(r.StatusCode) && (r.RevisedQueueSize < items[from+i].RequestedParameters.QueueSize || r.RevisedSamplingInterval > 2*milliseconds(s.cfg.SamplingInterval)+1) {
				worse++
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("creating monitored items: %w", err)
	}
	if worse > 0 {
		s.host.Log.Warn("the server granted some tags a slower sampling or a smaller queue than asked for", "connector", s.host.ID, "tags", worse)
	}
	s.host.Gauge("tags_revised", float64(worse))
	slices.Sort(refused)
	return refused, nil
}

// statusText is a status code's name, as people look it up.
func statusText(code ua.StatusCode) string {
	name := pipeline.Quality(code).String()
	if d, ok := ua.StatusCodes[code]; ok && strings.Contains(name, "(") {
		return strings.TrimPrefix(d.Name, "Status")
	}
	return name
}
